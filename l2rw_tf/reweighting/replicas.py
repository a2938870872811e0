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
from collections.abc import Callable, Iterator
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
        values: One value an example of this replica, float, shape (n,).
    """
    if _several_replicas() is None:
        return tf.reduce_mean(values)
    number = tf.cast(tf.shape(values)[0], values.dtype)
    total, number = sum_over_replicas([tf.reduce_sum(values), number])
    return total / number


def gather_examples(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns what all replicas hold, one replica after the other.

    Args:
        values: Tensors with one row an example of this replica, first dimension n.

    Returns:
        The same of the whole batch, first dimension N, on every replica.
    """
    context = _several_replicas()
    return values if context is None else context.all_gather(values, axis=0)


def first_example(values: tf.Tensor) -> tf.Tensor | int:
    """Returns the place that this replica's first example has in the whole batch.

    Args:
        values: One value an example of this replica, shape (n,).
    """
    context = _several_replicas()
    if context is None:
        return 0
    sizes = context.all_gather(tf.shape(values)[:1], axis=0)
    return tf.cumsum(sizes, exclusive=True)[context.replica_id_in_sync_group]


def share_of_examples(values: tf.Tensor) -> tf.Tensor:
    """Returns the share n / N of the batch's examples that this replica has, a scalar.

    Args:
        values: One value an example of this replica, float, shape (n,).
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
        examples: Anything with a row an example of this replica.
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
        examples: Anything with a row an example of this replica.
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


def distribute(
    strategy: tf.distribute.Strategy, batches: tf.data.Dataset
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Gives every replica its part of each batch: parts that follow each other, as even as can be.

    Every worker of several reads all batches, which have to be the same on all of them, and keeps
    what its replicas need.

    Args:
        strategy: The strategy.
        batches: Structures of tensors whose first dimension is the global batch.

    Returns:
        What Keras takes for a data set under this strategy.
    """
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batches

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        of_each = count // context.num_input_pipelines
        first = context.input_pipeline_id * of_each

        def parts(*element: Any) -> tf.data.Dataset:
            batch = element[0] if len(element) == 1 else element
            replicas = tf.data.Dataset.range(first, first + of_each)
            return replicas.map(lambda replica: part_of_batch(batch, replica, count))

        return batches.flat_map(parts)

    return strategy.distribute_datasets_from_function(of_worker)


def split_batch(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """Returns one batch as `strategy.run` takes it, each replica with its part.

    Args:
        strategy: The strategy.
        batch: A structure of tensors whose first dimension is the global batch.
    """
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batch
    return strategy.experimental_distribute_values_from_function(
        lambda context: part_of_batch(batch, context.replica_id_in_sync_group, count)
    )


def part_of_batch(batch: Any, replica: tf.Tensor | int, count: int) -> Any:
    """Returns the part of a batch that one of several replicas works on.

    The first replicas get one example more where the batch cannot be divided, and only the last
    ones may get none.

    Args:
        batch: A structure of tensors whose first dimension is the batch.
        replica: Number of the replica, from 0.
        count: How many replicas there are.
    """

    def part(leaf: Any) -> Any:
        if not isinstance(leaf, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)):
            return leaf
        total = tf.shape(leaf, tf.int64)[0]
        at_least, rest = total // count, total % count
        number = tf.cast(replica, tf.int64)
        start = number * at_least + tf.minimum(number, rest)
        size = at_least + tf.cast(number < rest, tf.int64)
        if isinstance(leaf, tf.SparseTensor):
            others = leaf.dense_shape[1:]
            first = tf.concat([[start], tf.zeros_like(others)], 0)
            return tf.sparse.slice(leaf, first, tf.concat([[size], others], 0))
        return leaf[start : start + size]

    return keras.tree.map_structure(part, batch)


class DistributedFit:
    """A mixin of `keras.Model`, whose `fit` and `evaluate` then go under any strategy.

    - Under several workers Keras averages what a step logs along a first axis, which it then must
      have (TensorFlow issue 72388).
    - Keras builds a model from the sum of the parts of a batch, which may differ in size.
    """

    def _make_function(self, step_function: Callable[[Any], Any]) -> Any:
        if not is_multi_worker(self.distribute_strategy):
            return super()._make_function(step_function)

        def step(data: Any) -> Any:
            return keras.tree.map_structure(lambda log: tf.reshape(log, [1]), step_function(data))

        return super()._make_function(step)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self._distribute_strategy
        if strategy is None:
            return
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda parts: strategy.experimental_local_results(parts)[0], next(batches)
            )
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)


class DistributedFunctional(DistributedFit, keras.Model):
    """A functional model made of its inputs and outputs."""


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether a strategy has several workers."""
    is_kind = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return is_kind and strategy.extended._in_multi_worker_mode()


def _several_replicas() -> tf.distribute.ReplicaContext | None:
    """Returns the context of the replica that this is traced for, where there are others."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
