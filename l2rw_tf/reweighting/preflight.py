"""What can be known to be wrong with a network and its loss before the first step."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.passes import observed_call
from l2rw_tf.reweighting.replicas import clips

# An improbable batch size, to find losses that do not return one value per example.
_UNLIKELY_BATCH_SIZE = 10_007


def check_network(network: Any) -> None:
    """Refuses what is no Keras model, and a model whose loss cannot be seen per example.

    Raises:
        UsageError: If it is one of these.
    """
    if not isinstance(network, keras.Model):
        raise UsageError(
            f"network must be a keras.Model, got an object of type {type(network).__name__}."
        )
    if type(network).compute_loss is not keras.Model.compute_loss:
        raise UsageError(
            f"The network {network.name!r} has a compute_loss of its own, which gives no value "
            "per example: give its loss to compile(loss=...) and remove the method."
        )


def check_replicas(
    strategy: tf.distribute.Strategy, optimizer: keras.optimizers.Optimizer, jit_compile: Any
) -> None:
    """Refuses what several replicas cannot do.

    Args:
        strategy: That the model was made in.
        optimizer: As compiled.
        jit_compile: As given to `compile`.

    Raises:
        UsageError: If XLA is forced, or clipping and loss scaling come together.
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
            "several replicas, where Keras clips each replica's part of the gradients by "
            "itself: use mixed_bfloat16 or no clipping."
        )


def check_scope(
    strategy: tf.distribute.Strategy,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Refuses variables that were made outside of the strategy's scope.

    Raises:
        UsageError: Saying whose they are.
    """
    made_in_scope = strategy.extended.variable_created_in_scope
    for what, variables in (("network", network.variables), ("optimizer", optimizer.variables)):
        if not all(made_in_scope(variable.value) for variable in variables):
            raise UsageError(
                f"The {what} was not made in the scope of the distribution strategy that the "
                "ReweightingModel was made in: make the network, the model and the optimizer "
                "in the same `with strategy.scope():`."
            )


def trace_losses(
    network: keras.Model, example_losses: ExampleLosses, inputs: Any, labels: Any
) -> None:
    """Runs network and losses on shapes alone; afterwards the losses know their labels.

    Args:
        network: A built network.
        example_losses: Its losses.
        inputs: Specifications of a batch's inputs.
        labels: The same of its labels.

    Raises:
        UsageError: If a loss has no value per example.
    """
    tf.function(
        lambda x, y: example_losses.trace(y, observed_call(network, x)), autograph=False
    ).get_concrete_function(
        *keras.tree.map_structure(
            lambda spec: _with_unlikely_batch_size(network, spec), (inputs, labels)
        )
    )


def check_rows(weighting: str, is_known: bool) -> None:
    """Refuses training data whose examples a weighting would have to know, and cannot.

    Raises:
        UsageError: Saying how they become known.
    """
    if not is_known:
        raise UsageError(
            f"weighting={weighting!r} has to know which examples are in a batch: train with "
            "fit(...) on arrays, or on a data set whose elements carry ids "
            "(l2rw_tf.number_examples) with track_examples=NUMBER_OF_EXAMPLES."
        )


def takes_text(network: keras.Model) -> bool:
    """Returns whether a network has an input of text."""
    return any(one.dtype == "string" for one in _inputs(network))


def _with_unlikely_batch_size(network: keras.Model, spec: Any) -> Any:
    is_fixed = any(one.shape[0] is not None for one in _inputs(network))
    kinds = (tf.TensorSpec, tf.SparseTensorSpec)
    if is_fixed or not isinstance(spec, kinds) or not spec.shape.rank:
        return spec
    return type(spec)([_UNLIKELY_BATCH_SIZE, *spec.shape[1:]], spec.dtype)


def _inputs(network: keras.Model) -> list[Any]:
    return keras.tree.flatten(getattr(network, "inputs", None) or [])
