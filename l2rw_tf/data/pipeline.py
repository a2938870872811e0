"""Batches for training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from l2rw_tf.data.examples import Examples
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.randomness import Stream, tensorflow_seed
from l2rw_tf.data.storage import StoredImages
from l2rw_tf.errors import UsageError

Augmentation = Literal["none", "crop", "crop_flip"]
Sampling = Literal["shuffled", "balanced"]

# Evaluation keeps a batch's activations in memory, so batches of larger images are smaller.
_LARGEST_EVALUATION_BATCH = 500
_EVALUATED_AT_ONCE = 500 * 64 * 64 * 3


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Returns the number of batches of n examples, including a smaller last one.

    Args:
        n: Number of examples.
        batch_size: Examples in a batch.
    """
    return -(-n // batch_size)


def training_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    augment: Augmentation = "none",
    with_rows: bool = False,
    sampling: Sampling = "shuffled",
) -> tf.data.Dataset:
    """Returns endless random batches, each determined by the seed and its step only.

    So a resumed run sees the same batches as an uninterrupted one.

    Args:
        examples: The training examples.
        preprocessing: Standardization.
        batch_size: Examples in a batch.
        seed: Seed of order and augmentation.
        start_step: The step, counted from 0, of the first batch.
        augment: `"crop"`: pads the standardized image with zeros, the mean colour, and crops it at
            random to its size. The border is 4 pixels wide at 32x32, as in the paper, and an eighth
            of the size otherwise. `"crop_flip"`: also mirrors it with probability one half.
        with_rows: Adds the examples' rows: their positions in `examples`, counted from 0.
        sampling: `"shuffled"`: every epoch uses all examples once, in its own order; its last batch
            may be smaller. `"balanced"`: a batch has equally many examples of each class (of its
            given labels; up to one, in turn), drawn at random with replacement, as RESAMPLE of Ren
            et al. 2018, section 4.1.

    Returns:
        A data set of (x, y) or (x, y, rows): x float32 (batch, ...), y and rows int64
        (batch,). The batch size is static if all batches have the same size.

    Raises:
        UsageError: If there are no examples, or tables are to be augmented.
    """
    _check(examples, augment)
    augmentation_seed = tensorflow_seed(seed, Stream.AUGMENTATION)
    read = _reader(examples.x)
    with tf.device("CPU:0"):
        y = tf.constant(examples.y)

    def batch(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs = preprocessing(read(indices))
        if augment != "none":
            inputs = _crop(inputs, tf.random.fold_in(augmentation_seed, step), augment)
        labels = tf.gather(y, indices)
        if with_rows:
            return inputs, labels, tf.cast(indices, tf.int64)
        return inputs, labels

    indices = {"shuffled": _shuffled, "balanced": _balanced}[sampling]
    dataset = indices(examples.y, batch_size, seed, start_step)
    batches = dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    # Without a known cardinality, it would be read to find its end.
    return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _shuffled(y: np.ndarray, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Returns (step, rows of its examples); every epoch has all examples once."""
    n = len(y)
    steps = steps_per_epoch(n, batch_size)
    order_seed = tensorflow_seed(seed, Stream.BATCHES)
    # A graph that knows the batch size computes about a tenth less (docs/performance.md).
    known = batch_size if n % batch_size == 0 else None

    def epoch_steps(epoch: tf.Tensor) -> tf.data.Dataset:
        random = tf.random.stateless_uniform(
            [n], tf.random.fold_in(order_seed, epoch), None, None, tf.int64, alg="philox"
        )
        order = tf.cast(tf.argsort(random, direction="DESCENDING"), tf.int64)
        first = tf.where(epoch == start_step // steps, start_step % steps, 0)
        return tf.data.Dataset.range(tf.cast(first, tf.int64), steps).map(
            lambda k: (
                epoch * steps + k,
                tf.ensure_shape(order[k * batch_size : (k + 1) * batch_size], [known]),
            )
        )

    return tf.data.Dataset.range(start_step // steps, tf.int64.max).flat_map(epoch_steps)


def _balanced(y: np.ndarray, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Returns (step, rows of its examples), with equally many rows of each class that occurs."""
    counts = np.bincount(y)
    occurring = np.flatnonzero(counts)
    order_seed = tensorflow_seed(seed, Stream.BALANCED_BATCHES)
    with tf.device("CPU:0"):
        by_class = tf.constant(np.argsort(y, kind="stable"))
        sizes = tf.constant(counts[occurring])
        firsts = tf.constant((np.cumsum(counts) - counts)[occurring])

    def draw(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turn = (step * batch_size + tf.range(batch_size, dtype=tf.int64)) % len(occurring)
        random = tf.random.stateless_uniform(
            [batch_size], tf.random.fold_in(order_seed, step), dtype=tf.float64, alg="philox"
        )
        size = tf.gather(sizes, turn)
        within_class = tf.cast(random * tf.cast(size, tf.float64), tf.int64)
        return step, tf.gather(by_class, tf.gather(firsts, turn) + within_class)

    return tf.data.Dataset.range(start_step, tf.int64.max).map(draw)


def evaluation_batch_size(input_shape: Sequence[int]) -> int:
    """Returns the batch size of evaluation: 500, or less for large images.

    Args:
        input_shape: Shape of one example.
    """
    fitting = _EVALUATED_AT_ONCE // math.prod(input_shape)
    return max(1, min(_LARGEST_EVALUATION_BATCH, fitting))


def evaluation_batches(
    examples: Examples, preprocessing: Preprocessing, *, batch_size: int | None = None
) -> tf.data.Dataset:
    """Returns batches of all examples, once and in their order.

    Args:
        examples: The examples.
        preprocessing: Standardization.
        batch_size: Examples in a batch, the last of which may be smaller; None:
            `evaluation_batch_size`.

    Returns:
        A finite data set of (x, y): x float32 (batch, ...), y int64 (batch,).

    Raises:
        UsageError: No examples.
    """
    _check(examples, "none")
    n = len(examples)
    if batch_size is None:
        batch_size = evaluation_batch_size(examples.x.shape[1:])
    read = _reader(examples.x)
    with tf.device("CPU:0"):
        y = tf.constant(examples.y)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        indices = tf.range(step * batch_size, tf.minimum((step + 1) * batch_size, n))
        return preprocessing(read(indices)), tf.gather(y, indices)

    dataset = tf.data.Dataset.range(steps_per_epoch(n, batch_size))
    return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _reader(x: np.ndarray | StoredImages) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from indices (batch,) int64 to inputs (batch, ...)."""
    if not isinstance(x, StoredImages):
        with tf.device("CPU:0"):
            in_memory = tf.constant(x)
        return lambda indices: tf.gather(in_memory, indices)

    def read(indices: tf.Tensor) -> tf.Tensor:
        inputs = tf.numpy_function(x.__getitem__, [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(inputs, (None, *x.shape[1:]))

    return read


def _check(examples: Examples, augment: str) -> None:
    if not len(examples):
        raise UsageError("there are no examples to make batches of.")
    if augment != "none" and examples.x.ndim != 4:
        raise UsageError(f"augment={augment!r} is for images; for tables it must be 'none'.")


def _crop(images: tf.Tensor, seed: tf.Tensor, augment: str) -> tf.Tensor:
    """Shifts each image at random, filling with 0, and mirrors it for `"crop_flip"`.

    Args:
        images: (batch, height, width, channels) float32.
        seed: Two integers.
        augment: `"crop"` or `"crop_flip"`.

    Returns:
        Images of the same shape.
    """
    batch, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    border_rows, border_columns = (max(1, round(size / 8)) for size in (height, width))
    draws = tf.random.stateless_uniform([3, batch], seed, alg="philox")
    top = tf.cast(draws[0] * (2 * border_rows + 1), tf.int32)[:, None]
    left = tf.cast(draws[1] * (2 * border_columns + 1), tf.int32)[:, None]
    columns = tf.range(width)[None]
    if augment == "crop_flip":
        columns = tf.where(draws[2][:, None] < 0.5, width - 1 - columns, columns)
    padded = tf.pad(
        images, [[0, 0], [border_rows, border_rows], [border_columns, border_columns], [0, 0]]
    )
    # One flat gather of pixels is several times faster than a loop over images or nested gathers.
    first_rows = tf.range(batch)[:, None] * (height + 2 * border_rows)
    rows = first_rows + top + tf.range(height)[None]
    pixels = rows[:, :, None] * (width + 2 * border_columns) + (left + columns)[:, None, :]
    return tf.gather(tf.reshape(padded, [-1, channels]), pixels)
