"""Shuffles arrays in an order that depends only on a seed and the epoch.

Keras's shuffling state is lost with the process. If the order is a function of (seed, epoch), a
`fit` that `keras.callbacks.BackupAndRestore` resumes sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.reweighting.feeding.same_batches import SameBatches
from l2rw_tf.reweighting.keras_internals import (
    ArrayDataAdapter,
    ResourceVariable,
    array_slicing,
    arrays_of_adapter,
    examples_of_adapter,
)


class ShuffledArrays(SameBatches):
    """The batches of Keras's array adapter, shuffled by seed and epoch."""

    def __init__(
        self, arrays: ArrayDataAdapter, seed: int, first_epoch: Callable[[], int], endless: bool
    ) -> None:
        """Wraps an array adapter.

        Args:
            arrays: Keras's array adapter.
            seed: Seed of all orders.
            first_epoch: Returns the number of the first epoch; called when that epoch begins.
            endless: Whether an epoch repeats the examples without end, in a new order on each
                pass, instead of reading them once.
        """
        super().__init__(arrays)
        self._seed = seed
        self._first_epoch = first_epoch
        self._endless = endless
        # -1 before the first epoch. A variable, because a Python function in the data set would
        # keep the arrays alive forever; a ResourceVariable, because no strategy mirrors it.
        with tf.init_scope(), tf.device("CPU:0"):
            self._epoch = ResourceVariable(-1, dtype=tf.int64, trainable=False)

    def get_tf_dataset(self) -> tf.data.Dataset:
        """Returns the batches of the current epoch."""
        passes = tf.data.Dataset.range(tf.int64.max if self._endless else 1)
        indices = passes.flat_map(self._batches_of_pass)
        inputs = arrays_of_adapter(self._source)
        # Passed as an element, not captured: a strategy rewrites the graph of the data set.
        arrays = tf.data.Dataset.from_tensors(inputs).repeat()
        batches = tf.data.Dataset.zip(indices, arrays).map(
            _take, num_parallel_calls=tf.data.AUTOTUNE
        )
        options = tf.data.Options()
        # As in Keras: optimizing the graph would copy it, including the arrays.
        options.experimental_optimization.apply_default_optimizations = False
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return batches.with_options(options).prefetch(tf.data.AUTOTUNE)

    # AutoGraph, for which there is nothing to convert, takes longer than the tracing itself.
    @tf.autograph.experimental.do_not_convert
    def _batches_of_pass(self, number: tf.Tensor) -> tf.data.Dataset:
        seed = tf.random.fold_in((self._seed, 0), self._epoch.read_value())
        seed = tf.random.fold_in(seed, number)
        n = examples_of_adapter(self._source)
        random = tf.random.stateless_uniform([n], seed, None, None, tf.int64, alg="philox")
        order = tf.argsort(random)
        # If all batches have the same size, the step is traced with a static batch size.
        size = self.batch_size
        known = None if self.has_partial_batch else size
        return tf.data.Dataset.range(self.num_batches).map(
            lambda k: tf.ensure_shape(order[k * size : (k + 1) * size], [known])
        )

    def on_epoch_begin(self) -> None:
        """Switches to the order of the next epoch."""
        self._epoch.assign(self._first_epoch() if self._epoch < 0 else self._epoch + 1)


@tf.autograph.experimental.do_not_convert
def _take(indices: tf.Tensor, arrays: Any) -> Any:
    """Returns the examples of `arrays` at `indices`."""

    def take(one: Any) -> Any:
        if isinstance(one, array_slicing.TensorflowSparseWrapper):
            return array_slicing.slice_tensorflow_sparse_wrapper(one, indices)
        if isinstance(one, (list, tuple, dict)):
            return None
        return tf.gather(one, indices) if tf.is_tensor(one) else one

    return keras.tree.traverse(take, arrays)
