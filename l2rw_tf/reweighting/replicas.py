"""One training step on several replicas, the devices of a `tf.distribute` strategy.

Each replica has a part of the batch. The functions here sum the quantities of the whole batch
(N, M, v, Σ w̃) over all replicas. Outside a strategy, and with one replica, they add no
communication to the graph.

The gradient of a sum over replicas is itself a sum over replicas, in nested tapes too. So a tape on
one replica returns the derivative of the sum of all replicas' targets with respect to that
replica's variables, even if synchronized batch normalization makes the losses on one replica depend
on the examples of another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


def sum_over_replicas(values: Any) -> Any:
    """Returns the sums of tensors over all replicas, on every replica.

    Args:
        values: A tensor or a list of tensors and Nones, of the same shapes on all replicas.

    Returns:
        The sums, structured as `values`.
    """
    context = _several_replicas()
    if context is None:
        return values
    if not isinstance(values, list):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    given = [value for value in values if value is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given) if given else [])
    return [None if value is None else next(sums) for value in values]


def mean_over_examples(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean over the examples of all replicas, a scalar.

    Args:
        values: One value per example of this replica, float, shape (n,).
    """
    if _several_replicas() is None:
        return tf.reduce_mean(values)
    number = tf.cast(tf.shape(values)[0], values.dtype)
    total, number = sum_over_replicas([tf.reduce_sum(values), number])
    return total / number


def count_not_finite(values: tf.Tensor) -> tf.Tensor:
    """Returns how many values of this replica are NaN or infinite, a scalar."""
    return tf.reduce_sum(tf.cast(~tf.math.is_finite(values), tf.int32))


def all_finite(values: tf.Tensor) -> tf.Tensor:
    """Returns whether the values of all replicas are finite, a scalar bool."""
    return tf.equal(sum_over_replicas(count_not_finite(values)), 0)


def gather_examples(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the values of all replicas, concatenated in the order of the replicas.

    Args:
        values: Tensors with one row per example of this replica, first dimension n.

    Returns:
        Tensors of the whole batch, first dimension N, on every replica.
    """
    context = _several_replicas()
    return values if context is None else context.all_gather(values, axis=0)


def share_of_examples(values: tf.Tensor) -> tf.Tensor:
    """Returns the fraction n / N of the batch's examples that is on this replica, a scalar.

    Args:
        values: One value per example of this replica, float, shape (n,).
    """
    if _several_replicas() is None:
        return tf.ones((), values.dtype)
    number = tf.cast(tf.shape(values)[0], values.dtype)
    return number / sum_over_replicas(number)


def part_of_sum(values: list[Any], examples: tf.Tensor) -> list[Any]:
    """Returns this replica's part of a sum, with 0 if the replica has no examples.

    A mean over no examples is NaN, for example in unsynchronized batch normalization.

    Args:
        values: Tensors, `tf.IndexedSlices` (which are empty without examples) or Nones.
        examples: A tensor with one row per example of this replica.
    """
    if _several_replicas() is None:
        return values
    some = tf.shape(examples)[0] > 0
    return [
        tf.where(some, value, tf.zeros_like(value)) if isinstance(value, tf.Tensor) else value
        for value in values
    ]


@contextlib.contextmanager
def state_kept_without_examples(network: keras.Model, examples: tf.Tensor) -> Iterator[None]:
    """Restores state, such as moving averages, that a call on no examples made NaN.

    Args:
        network: The network that is called in this scope.
        examples: A tensor with one row per example of this replica.
    """
    variables = [
        variable
        for variable in network.non_trainable_variables
        if keras.backend.is_float_dtype(variable.dtype)
    ]
    if _several_replicas() is None or not variables:
        yield
        return
    before = [tf.identity(variable.value) for variable in variables]
    yield
    some = tf.shape(examples)[0] > 0
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(some | tf.math.is_finite(variable.value), variable.value, value))


def gradients_for(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any]
) -> list[tf.Tensor | None]:
    """Returns the gradients to pass to an optimizer on this replica; it sums them over replicas.

    These are this replica's part, unless the optimizer clips gradients or checks them for overflow
    in half precision before it sums them. Then it must see the sum.

    Args:
        optimizer: A Keras optimizer.
        gradients: This replica's part of the gradients.
    """
    context = _several_replicas()
    scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if context is None or not (scales_loss or clips(optimizer)):
        return gradients
    whole = sum_over_replicas(
        [None if part is None else tf.convert_to_tensor(part) for part in gradients]
    )
    if scales_loss:
        # The same on all replicas, so that they take or skip the step together.
        factor = 1.0 / context.num_replicas_in_sync
    else:
        # The other replicas pass zeros, which clipping does not change.
        factor = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.float32)
    return [None if part is None else part * tf.cast(factor, part.dtype) for part in whole]


def clips(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer clips gradients."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return bool(optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue)


def _several_replicas() -> tf.distribute.ReplicaContext | None:
    """Returns the context of the replica being traced, or None if it is the only one."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
