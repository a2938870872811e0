"""Splits every batch among the replicas of a `tf.distribute` strategy."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def distribute(
    strategy: tf.distribute.Strategy, batches: tf.data.Dataset
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Gives each replica a contiguous part of every batch, of as equal a size as possible.

    With several workers, each reads all batches, which must be the same on all workers, and keeps
    the parts of its replicas.

    Args:
        strategy: The strategy.
        batches: Structures of tensors whose first dimension is the global batch.

    Returns:
        The data set to pass to Keras under this strategy.
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
    """Returns a batch split among the replicas, in the form that `strategy.run` takes.

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
    """Returns the part of a batch that one replica gets.

    If the batch does not divide evenly, the first replicas get one example more; only the last
    ones may get none.

    Args:
        batch: A structure of tensors whose first dimension is the batch.
        replica: Number of the replica, from 0.
        count: Number of replicas.
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
