"""One step of the method: Algorithm 1 of the paper, as a Keras `train_step`."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.feeding.batches import CLEAN, ROWS, TRAINING
from l2rw_tf.reweighting.keras_internals import log_loss
from l2rw_tf.reweighting.known_sizes import StepsBySize, TrainFunction
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.meta_gradient import Estimator, clean_gradient, u_of_batch
from l2rw_tf.reweighting.monitor import STEP_MEANS, FaultWatch, update_means
from l2rw_tf.reweighting.objective import Gradient, Objective
from l2rw_tf.reweighting.passes import call_for_training, split_sample_weight
from l2rw_tf.reweighting.record import Record
from l2rw_tf.reweighting.replicas import (
    gradients_for,
    part_of_sum,
    share_of_examples,
    state_kept_without_examples,
    sum_over_replicas,
)
from l2rw_tf.reweighting.variables import MetaVariables, select_meta_variables, watching
from l2rw_tf.reweighting.weighting.weighting import Weighting
from l2rw_tf.reweighting.weights import normalize
from l2rw_tf.reweighting.wrapper import NetworkWrapper

_GPU_LOOKS_EVERY = 20


class ReweightedStep(NetworkWrapper):
    """A model with the training step of the method; `ReweightingModel` sets its attributes."""

    weighting: Weighting
    reweight_every: int
    _meta_variables: MetaVariables
    _estimator: Estimator
    _example_losses: ExampleLosses
    _record: Record
    _faults: FaultWatch
    _step_means: dict[str, keras.metrics.Mean]
    # Keras's compiled step; None until it is made.
    train_function: Any
    # Whether logs are those of training steps, not of an evaluation.
    _logs_steps = False

    def train_step(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Runs one iteration of Algorithm 1; the comments give its line numbers.

        Args:
            data: `{"training": (x, y[, s]), "clean": (x, y[, s])}`, first dimensions N and M, and
                `"rows"`, shape (N,), if the training examples are tracked.

        Returns:
            The metrics so far, by name.
        """
        # Lines 2 and 3: a training batch and a clean batch.
        batch, clean_batch, rows = self._parts(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        weight, within = split_sample_weight(sample_weight)
        self._build_network(x)
        objective = self._objective()
        # Lines 8 and 9: θ̂ = θ at ε = 0, so the gradient v of the clean loss is taken at θ.
        clean_loss, v = clean_gradient(objective, clean_batch)
        with (
            self._estimator(objective, batch, v) as alignment,
            watching(self.network.trainable_variables, persistent=True) as tape,
        ):
            # Lines 4 and 5: the training losses ℓ. Only this pass updates state.
            y_pred = self._call_for_update(_after(v, x), y)
            losses = self._example_losses(y, y_pred, within)
            regularization = self._regularization()
        # Lines 6, 7 and 10: u_i = −∂/∂ε_i of the clean loss at θ̂(ε) = ⟨∇ℓ_i, v⟩.
        u = alignment(tape, losses)
        # Line 11: from u to the weights w.
        self.weighting.learn(u, losses, weight)
        w = self.weighting.weigh(u, losses, weight)
        # Lines 12 to 14: a step on Σ_i w_i ℓ_i. The tape did not record w, so w is a constant.
        w = self._apply_gradients(tape, losses, regularization, w, u)
        if rows is not None:
            own = w if weight is None else self.weighting.weigh(u, losses, None)
            self._record.update(rows, u, w, losses, own)
        self._log_loss(w, losses, regularization, y, y_pred)
        update_means(self._step_means, w, clean_loss)
        self._faults.update(losses, clean_loss, u, weight)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def step_with_last_weights(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Runs one step between two that compute weights; Keras compiles it.

        Each example has the weight of its last visit, or the mean weight if it has not been seen,
        times its sample weight, normalized over the batch. There is no clean pass, and the record
        stays as it is.

        Args:
            data: As for `train_step`.

        Returns:
            The metrics so far, by name.
        """
        batch, _, rows = self._parts(data)
        if rows is None:
            return self.train_step(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        weight, within = split_sample_weight(sample_weight)
        with watching(self.network.trainable_variables, persistent=True) as tape:
            y_pred = self._call_for_update(x, y)
            losses = self._example_losses(y, y_pred, within)
            regularization = self._regularization()
        w = normalize(tf.cast(self._record.kept_weights(rows), losses.dtype), weight)
        w = self._apply_gradients(tape, losses, regularization, w, w)
        self._log_loss(w, losses, regularization, y, y_pred)
        update_means(self._step_means, w)
        self._faults.update(losses, tf.zeros_like(regularization), w, weight)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def make_train_function(self, force: bool = False) -> Any:
        """Compiles the step as Keras does, and regularly checks whether a step had a fault."""
        if self.train_function is not None and not force:
            return self.train_function
        execute, executions = self._train_function(self.train_step), itertools.count(1)
        if self.reweight_every > 1:
            execute = self._in_turns(execute, self._train_function(self.step_with_last_weights))
        # Each check makes the host wait for the device, which has stored the step of a fault.
        look_every = _GPU_LOOKS_EVERY if tf.config.list_physical_devices("GPU") else 1

        def execute_and_look(iterator: Any) -> Any:
            logs = execute(iterator)
            if next(executions) % look_every == 0:
                self._look_for_faults()
            return logs

        self.train_function = execute_and_look
        return self.train_function

    def _in_turns(self, reweight: TrainFunction, keep_weights: TrainFunction) -> TrainFunction:
        """Returns a train function that computes weights in every `reweight_every`-th step."""

        def execute(iterator: Any) -> Any:
            step = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
            is_turn = step % self.reweight_every == 0
            return (reweight if is_turn else keep_weights)(iterator)

        return execute

    def _train_function(self, step: Callable[[Any], Any]) -> TrainFunction:
        def make() -> TrainFunction:
            return self._make_function(step)

        # XLA compiles for known sizes anyway.
        may_know_sizes = not (self._is_eager or self.jit_compile) and self.steps_per_execution == 1
        return StepsBySize(make) if may_know_sizes else make()

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics so far by name; those of `STEP_MEANS` in training only."""
        logs = super().get_metrics_result()
        if not self._logs_steps:
            return {name: value for name, value in logs.items() if name not in STEP_MEANS}
        # An epoch shorter than `reweight_every` may have no clean loss.
        count = self._step_means["clean_loss"].count
        return logs | {"clean_loss": tf.where(count > 0, logs["clean_loss"], math.nan)}

    def _parts(self, data: Any) -> tuple[Any, Any, tf.Tensor | None]:
        """Returns the training batch, the clean batch, and the rows or None if not tracked."""
        if not isinstance(data, dict):
            raise UsageError(
                "A training step needs clean data beside the training batch: train with "
                "fit(..., clean_data=...) or train_on_batch(..., clean_data=...)."
            )
        rows = data.get(ROWS) if self._record.num_examples else None
        return data[TRAINING], data[CLEAN], rows

    def _objective(self, scaled: bool = True) -> Objective:
        variables = select_meta_variables(self.network, self._meta_variables)
        scale = None
        if scaled and isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            scale = self.optimizer.scale_loss(tf.ones((), keras.config.floatx()))
        return Objective(self.network, self._example_losses, variables, scale)

    def _weights_of_batch(self, data: dict[str, Any]) -> tf.Tensor:
        batch, clean_batch, _ = self._parts(data)
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        weight, _ = split_sample_weight(sample_weight)
        self._build_network(x)
        objective = self._objective(scaled=False)
        u, losses = u_of_batch(objective, batch, clean_batch, self._estimator)
        return self.weighting.weigh(u, losses, weight)

    def _call_for_update(self, x: Any, y: Any) -> Any:
        with state_kept_without_examples(self.network, keras.tree.flatten(y)[0]):
            return call_for_training(self.network, x)

    def _regularization(self) -> tf.Tensor:
        """Returns the sum of weight decay and other added losses, which only the update uses."""
        losses = self.network.losses
        if not losses:
            return tf.zeros((), keras.config.floatx())
        return tf.add_n([tf.cast(tf.reduce_sum(one), keras.config.floatx()) for one in losses])

    def _apply_gradients(
        self,
        tape: tf.GradientTape,
        losses: tf.Tensor,
        regularization: tf.Tensor,
        w: tf.Tensor,
        u: tf.Tensor,
    ) -> tf.Tensor:
        """Takes an optimizer step with ∇_θ (Σ_i w_i ℓ_i + regularization).

        Returns:
            w, with 0 in place of values that overflowed in half precision. For these, the optimizer
            skips the step and lowers its loss scale.
        """
        # Passes an overflow in u on to the optimizer, as it may not show in w.
        w = tf.where(tf.math.is_finite(u), w, u)
        trainable = self.network.trainable_variables
        share = tf.cast(share_of_examples(losses), regularization.dtype)
        gradients = tape.gradient(
            [losses, regularization],
            [variable.value for variable in trainable],
            output_gradients=[self.optimizer.scale_loss(w), self.optimizer.scale_loss(share)],
        )
        gradients = gradients_for(self.optimizer, part_of_sum(gradients, losses))
        self.optimizer.apply_gradients(zip(gradients, trainable, strict=True))
        return tf.where(tf.math.is_finite(w), w, 0)

    def _log_loss(
        self, w: tf.Tensor, losses: tf.Tensor, regularization: tf.Tensor, y: Any, y_pred: Any
    ) -> None:
        share = share_of_examples(losses)
        part = tf.reduce_sum(w * losses) + tf.math.multiply_no_nan(regularization, share)

        def by_output() -> tuple[Any, Any, Any]:
            # Keras keeps a mean of the loss of each output, weighted by the number of examples.
            weights = tf.math.divide_no_nan(w, share)
            return y, y_pred, self._example_losses.sample_weight_for_keras(weights, y_pred)

        several = keras.tree.is_nested(y_pred)
        log_loss(self, sum_over_replicas(part), tf.shape(w)[0], by_output if several else None)

    @property
    def _is_eager(self) -> bool:
        return self.run_eagerly or tf.config.functions_run_eagerly()

    def _build_network(self, x: Any) -> None:
        if self.network.built:
            return
        if self._is_eager:
            # In eager mode a call may depend on values.
            self.network(x)
        elif any(map(_is_ragged, keras.tree.flatten(x))):
            # The symbolic tensors made below are dense or sparse.
            tf.function(lambda x: self.network(x), autograph=False).get_concrete_function(x)
        else:
            self.network(keras.tree.map_structure(_symbol, x))

    def _look_for_faults(self) -> None:
        self._faults.check(self.optimizer)
        self._record.check_rows()

    @contextlib.contextmanager
    def _steps_logged(self, logged: bool = True) -> Iterator[None]:
        before, self._logs_steps = self._logs_steps, logged
        try:
            yield
        finally:
            self._logs_steps = before


def _after(v: Gradient, x: Any) -> Any:
    """Returns x after v is computed, when the activations of the clean pass are freed."""
    with tf.control_dependencies([part for part in v if part is not None]):
        return keras.tree.map_structure(lambda one: None if one is None else tf.identity(one), x)


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, (tf.RaggedTensor, tf.RaggedTensorSpec))


def _symbol(spec: Any) -> keras.KerasTensor | None:
    if not hasattr(spec, "shape"):
        return None
    return keras.KerasTensor(
        spec.shape,
        dtype=keras.backend.standardize_dtype(spec.dtype),
        sparse=isinstance(spec, (tf.SparseTensor, tf.SparseTensorSpec)),
    )
