"""One step on several replicas, the devices of a `tf.distribute` strategy.

A replica has a part of the batch; what the method asks of the whole batch (N, M, v, Σ w̃) is summed
over all replicas by the functions here. Outside of a strategy, and with one replica, they give back
what they are given and leave nothing in the graph.

The gradient of a sum over replicas is again one, in nested tapes too. So what a tape gives on one
replica is the derivative of the sum of all replicas' targets by that replica's own variables, also
where synchronized batch normalization makes the losses of one depend on the examples of another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


def sum_over_replicas(values: Any) -> Any:
    """Returns the sums of tensors over all replicas; every replica gets them.

    Args:
        values: A tensor or a list of tensors and Nones, of the same shapes on all replicas.

    Returns:
        What `values` is, summed.
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


def gather_examples(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns what all replicas hold, one replica after the other.

    Args:
        values: Tensors with one row per example of this replica, first dimension n.

    Returns:
        The same of the whole batch, first dimension N, on every replica.
    """
    context = _several_replicas()
    return values if context is None else context.all_gather(values, axis=0)


def first_example(values: tf.Tensor) -> tf.Tensor | int:
    """Returns the place that this replica's first example has in the whole batch.

    Args:
        values: One value per example of this replica, shape (n,).
    """
    context = _several_replicas()
    if context is None:
        return 0
    sizes = context.all_gather(tf.shape(values)[:1], axis=0)
    return tf.cumsum(sizes, exclusive=True)[context.replica_id_in_sync_group]


def share_of_examples(values: tf.Tensor) -> tf.Tensor:
    """Returns the share n / N of the batch's examples that this replica has, a scalar.

    Args:
        values: One value per example of this replica, float, shape (n,).
    """
    if _several_replicas() is None:
        return tf.ones((), values.dtype)
    number = tf.cast(tf.shape(values)[0], values.dtype)
    return number / sum_over_replicas(number)


def part_of_sum(values: list[Any], examples: tf.Tensor) -> list[Any]:
    """Returns this replica's part of a sum, which is 0 where it has no example.

    A mean over no example is NaN, as in batch normalization that is not synchronized.

    Args:
        values: Tensors, `tf.IndexedSlices` (empty by themselves without examples) or Nones.
        examples: Anything with a row per example of this replica.
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
    """Undoes what a call on a replica without an example made NaN, as it may moving averages.

    Args:
        network: Called in this scope.
        examples: Anything with a row per example of this replica.
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
    """Returns what an optimizer, which sums over replicas, must be given on this replica.

    That is this replica's part, unless the optimizer looks at the gradients before it sums: to clip
    them, or for overflow in half precision. What it looks at has to be the sum then.

    Args:
        optimizer: Of Keras.
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
        # The same on all replicas, which take or leave the step together.
        factor = 1.0 / context.num_replicas_in_sync
    else:
        # Clipping has no effect on the zeros of the others.
        factor = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.float32)
    return [None if part is None else part * tf.cast(factor, part.dtype) for part in whole]


def clips(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer clips gradients."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return bool(optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue)


def _several_replicas() -> tf.distribute.ReplicaContext | None:
    """Returns the context of the replica that this is traced for, where there are others."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
