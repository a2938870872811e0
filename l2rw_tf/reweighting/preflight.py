"""Checks of data, network and loss before the first training step."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.feeding import checks
from l2rw_tf.reweighting.feeding.batches import (
    CLEAN,
    ROWS,
    TRAINING,
    PairedBatches,
    pair_batches,
    single_pair,
)
from l2rw_tf.reweighting.feeding.own_preprocessing import preprocess, preprocess_source
from l2rw_tf.reweighting.keras_internals import build_metrics, resumed_epoch, strategy_of
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.objective import Objective
from l2rw_tf.reweighting.passes import observed_call, random_seeds, recurrent_states
from l2rw_tf.reweighting.replicas import clips
from l2rw_tf.reweighting.step import ReweightedStep
from l2rw_tf.reweighting.variables import select_meta_variables

# Improbable sizes of an axis, to find losses that do not return one value per example.
_UNLIKELY_BATCH_SIZES = range(41, 10_000, 2)

# Methods of training that a network may override, and that a model around it would ignore.
_OWN_METHODS = ("train_step", "test_step", "make_train_function", "make_test_function")


def check_network(network: Any) -> None:
    """Refuses objects that are not Keras models, and models that override methods of training.

    Raises:
        UsageError: If `network` is refused.
    """
    if not isinstance(network, keras.Model):
        raise UsageError(
            f"network must be a keras.Model, got an object of type {type(network).__name__}."
        )
    for method in _OWN_METHODS:
        if not _is_keras_own(network, method):
            raise UsageError(
                f"The network {network.name!r} has its own {method}, which reweighting would "
                "ignore: use a network without it, or call l2rw_tf.meta_gradient in your step."
            )
    if not hasattr(network, "preprocess_samples") and not _is_keras_own(network, "fit"):
        raise UsageError(
            f"The network {network.name!r} has its own fit, which reweighting would ignore: use a "
            "network without it."
        )
    if not _is_keras_own(network, "compute_metrics"):
        raise UsageError(
            f"The network {network.name!r} has its own compute_metrics, which reweighting would "
            "ignore: pass its metrics to compile(metrics=...) and remove the method."
        )
    if not _is_keras_own(network, "compute_loss"):
        raise UsageError(
            f"The network {network.name!r} has its own compute_loss, which returns no value per "
            "example: pass its loss to compile(loss=...) and remove the method."
        )


def _is_keras_own(network: keras.Model, method: str) -> bool:
    """Returns whether neither the network's class nor the network itself replaces a method."""
    return getattr(getattr(network, method), "__func__", None) is getattr(keras.Model, method)


def check_replicas(
    strategy: tf.distribute.Strategy, optimizer: keras.optimizers.Optimizer, jit_compile: Any
) -> None:
    """Refuses compile options that do not work on several replicas.

    Args:
        strategy: The strategy of the model.
        optimizer: The compiled optimizer.
        jit_compile: The argument of `compile`.

    Raises:
        UsageError: If XLA is forced, or clipping is combined with loss scaling.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    if jit_compile is True:
        raise UsageError(
            "jit_compile=True cannot be used under a distribution strategy with several "
            "replicas: leave it at 'auto', which turns XLA off there."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) and clips(optimizer):
        raise UsageError(
            "Clipping and float16 cannot be used together under a distribution strategy with "
            "several replicas, where Keras clips each replica's part of the gradients "
            "separately: use mixed_bfloat16 or no clipping."
        )


def check_scope(
    strategy: tf.distribute.Strategy,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Refuses variables that were created outside the strategy's scope.

    Raises:
        UsageError: If the network or the optimizer has such variables.
    """
    made_in_scope = strategy.extended.variable_created_in_scope
    for what, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
        if not all(made_in_scope(variable.value) for variable in variables):
            raise UsageError(
                f"The {what} was not created in the scope of the ReweightingModel's distribution "
                "strategy: create the network, the model and the optimizer in the same "
                "`with strategy.scope():`."
            )


def check_reweight_every(reweight_every: Any) -> None:
    """Refuses anything but a whole number of at least 1.

    Raises:
        UsageError: If it is anything else.
    """
    is_number = isinstance(reweight_every, (int, np.integer)) and reweight_every is not True
    if not is_number or reweight_every < 1:
        raise UsageError(
            f"reweight_every must be a whole number of at least 1, got {reweight_every!r}."
        )


def check_kept_weights(reweight_every: int, is_tracked: bool, steps_per_execution: int) -> None:
    """Refuses what steps between two reweighted ones cannot do.

    Args:
        reweight_every: The argument of `ReweightingModel`.
        is_tracked: Whether the batches have the ids of their examples.
        steps_per_execution: The argument of `compile`.

    Raises:
        UsageError: If the examples are not tracked, or several steps are executed at once.
    """
    if reweight_every > 1 and not is_tracked:
        raise UsageError(
            f"reweight_every={reweight_every} needs the ids of the examples in a batch: train on "
            "arrays, or on a data set whose elements carry ids (l2rw_tf.number_examples) with "
            "track_examples=NUMBER_OF_EXAMPLES."
        )
    if reweight_every > 1 and steps_per_execution > 1:
        raise UsageError(
            f"reweight_every={reweight_every} and steps_per_execution={steps_per_execution} "
            "cannot be used together: leave steps_per_execution at 1."
        )


def check_recurrent_states(network: keras.Model, clean: Any) -> None:
    """Refuses clean batches whose size differs from the batch size of a stateful recurrent layer.

    Args:
        network: A built network.
        clean: Specifications of a clean batch.

    Raises:
        UsageError: If the sizes differ; names the layer and both sizes.
    """
    size = keras.tree.flatten(clean)[0].shape[0]
    for layer, state in recurrent_states(network):
        if size not in (None, state.shape[0]):
            raise UsageError(
                f"The layer {layer.name!r} is stateful and only takes batches of {state.shape[0]} "
                f"examples, but the clean batches have {size}: give at least as many clean "
                f"examples, and clean_batch_size={state.shape[0]}."
            )


def takes_text(network: keras.Model) -> bool:
    """Returns whether a network may have a text input; True if its inputs are unknown."""
    inputs = _inputs(network)
    return not inputs or any(one.dtype == "string" for one in inputs)


def _check_losses_per_example(example_losses: ExampleLosses, y: Any, y_pred: Any) -> None:
    """Refuses losses without a value per example, given specifications of labels and outputs."""
    others = _with_another_batch_size((y, y_pred))
    try:
        tf.function(example_losses, autograph=False).get_concrete_function(*others)
    except UsageError:
        raise
    except Exception:
        # A loss with a fixed batch size cannot be checked this way.
        return


def _with_another_batch_size(specs: Any) -> Any:
    """Returns specifications with a batch size that no other axis has.

    With it, a loss that does not keep the first axis is found even if, say, the batches have as
    many examples as time steps.
    """
    taken = {size for one in keras.tree.flatten(specs) for size in getattr(one, "shape", ())}
    size = next(size for size in _UNLIKELY_BATCH_SIZES if size not in taken)

    def resized(spec: Any) -> Any:
        is_batch = isinstance(spec, (tf.TensorSpec, tf.SparseTensorSpec)) and spec.shape.rank
        return type(spec)([size, *spec.shape[1:]], spec.dtype) if is_batch else spec

    return keras.tree.map_structure(resized, specs)


def _inputs(network: keras.Model) -> list[Any]:
    return keras.tree.flatten(getattr(network, "inputs", None) or [])


class CheckedModel(ReweightedStep):
    """A model that checks data, network and loss before the first training step."""

    # The specification of the data that was checked last.
    _checked_kind = ""

    @property
    def builds_itself(self) -> bool:
        """Whether `fit` has built everything; Keras would use a batch of the data to build."""
        return bool(self._checked_kind)

    def _strategy_scope(self) -> contextlib.AbstractContextManager:
        strategy = strategy_of(self)
        return contextlib.nullcontext() if strategy is None else strategy.scope()

    def _require_compiled(self, method: str) -> None:
        if not self.compiled:
            raise UsageError(
                f"Call model.compile(optimizer=..., loss=...) before model.{method}(...)."
            )

    def _joined_batches(
        self,
        data: tuple[Any, Any, Any],
        clean_data: Any,
        track_examples: bool | int,
        initial_epoch: int,
        **options: Any,
    ) -> PairedBatches:
        """Pairs and checks the data of `fit`, and opens the record if examples are tracked."""
        x, y, _ = data = preprocess(self.network, *data)
        clean_data = preprocess_source(self.network, clean_data)
        if self.reweight_every > 1 and x is not None and checks.is_arrays(x):
            track_examples = track_examples or True
        num_tracked = checks.tracked_examples(track_examples, x)
        batches = pair_batches(
            *data,
            clean_data,
            track_examples=num_tracked or False,
            takes_text=takes_text(self.network),
            takes=self._takes,
            strategy=self.distribute_strategy,
            # BackupAndRestore sets `resumed_epoch` when training begins.
            first_epoch=lambda: resumed_epoch(self) or initial_epoch,
            **options,
        )
        is_tracked = ROWS in batches.element_spec and bool(num_tracked or self._record.num_examples)
        check_kept_weights(self.reweight_every, is_tracked, self.steps_per_execution)
        self._check_before_training(batches.element_spec, batches.labels)
        if num_tracked and self._record.open_for(num_tracked, checks.fingerprint(x, y)):
            # The step traced earlier writes to the old record, or to none.
            self.train_function = None
        return batches

    def _check_before_training(self, spec: Any, labels: dict[str, Any]) -> None:
        """Checks network, loss and labels before the first step."""
        if self._is_eager:
            # As in Keras, the first step builds everything, on real batches.
            return
        if self._checked_kind != str(spec):
            self._build_all(*keras.utils.unpack_x_y_sample_weight(spec[TRAINING]))
            check_recurrent_states(self.network, spec[CLEAN])
            self._checked_kind = str(spec)
        for what, values in labels.items():
            if values is not None:
                self._example_losses.check_labels(values, what)

    def _build_all(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Creates every variable of the training, and traces the losses.

        A step that creates variables is traced twice; under a strategy it cannot create any.

        Args:
            x: Specifications of a batch's inputs.
            y: Specifications of its labels.
            sample_weight: Specifications of its weights, or None.

        Raises:
            UsageError: If a loss has no value per example.
        """
        with self._strategy_scope():
            self._build_network(x)
            self.built = True
            self.optimizer.build(self.network.trainable_variables)
            random_seeds(self.network)
            check_scope(self.distribute_strategy, self.network, self.optimizer)
            select_meta_variables(self.network, self._meta_variables)

            def trace(x: Any, y: Any, sample_weight: Any) -> Any:
                y_pred = observed_call(self.network, x)
                self._example_losses.trace(y, y_pred)
                build_metrics(self, x, y, y_pred, sample_weight)
                return y_pred

            # Variables created in this scope are initialized when it ends.
            with keras.StatelessScope():
                traced = tf.function(trace, autograph=False).get_concrete_function(
                    x, y, sample_weight
                )
        y_pred = keras.tree.map_structure(tf.type_spec_from_value, traced.structured_outputs)
        _check_losses_per_example(self._example_losses, y, y_pred)

    def _takes(self, batch: tuple[Any, Any]) -> bool:
        """Returns whether the losses of a batch, which holds NaN or infinity, are finite."""
        x, y = (keras.tree.map_structure(tf.convert_to_tensor, part) for part in batch[:2])
        with self._strategy_scope():
            self._build_network(x)
        losses = Objective(self.network, self._example_losses, []).losses((x, y))
        return bool(tf.reduce_all(tf.math.is_finite(losses)))

    def _checked_pair(
        self, x: Any, y: Any, sample_weight: Any, clean_data: Any, class_weight: Any = None
    ) -> dict[str, Any]:
        data = preprocess(self.network, x, y, sample_weight)
        clean_data = preprocess_source(self.network, clean_data)
        pair, labels = single_pair(
            *data,
            clean_data,
            class_weight,
            takes_text=takes_text(self.network),
            takes=self._takes,
        )
        spec = keras.tree.map_structure(tf.type_spec_from_value, pair)
        self._check_before_training(spec, labels)
        return pair
