"""Batches for training and evaluation."""

from __future__ import annotations

from typing import Literal, get_args

import tensorflow as tf

from l2rw_tf.data.examples import Examples
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.randomness import Stream, tensorflow_seed
from l2rw_tf.errors import UsageError

Augmentation = Literal["none", "crop", "crop_flip"]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Returns the number of batches of n examples, the last of which may be smaller.

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
    with_ids: bool = False,
) -> tf.data.Dataset:
    """Returns endless shuffled batches, each a function of the seed and of its step alone.

    So a run that is resumed at a step sees the batches that it would have seen. Every epoch goes
    through all examples once, in an order of its own; its last batch may be smaller.

    Args:
        examples: The training examples.
        preprocessing: Standardization.
        batch_size: Examples in a batch.
        seed: Decides order and augmentation.
        start_step: The step, counted from 0, of the first batch.
        augment: `"crop"`: the image, with a border of zeros (after standardization, so of the mean
            colour), cropped back at random to its size; the border is 4 pixels wide at 32x32, as in
            the paper, and in proportion (an eighth) at other sizes. `"crop_flip"`: mirrored with
            chance one half as well.
        with_ids: Adds the ids of the examples.

    Returns:
        A data set of (x, y) or (x, y, ids): x float32 (batch, ...), y and ids int64 (batch,).

    Raises:
        UsageError: No examples, or an argument out of range.
    """
    _check(examples, batch_size, augment)
    n = len(examples)
    steps = steps_per_epoch(n, batch_size)
    order_seed = tensorflow_seed(seed, Stream.BATCHES)
    augmentation_seed = tensorflow_seed(seed, Stream.AUGMENTATION)
    with tf.device("CPU:0"):
        x, y, ids = (tf.constant(array) for array in (examples.x, examples.y, examples.ids))

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, first = step // steps, step % steps * batch_size
        indices = tf.random.experimental.index_shuffle(
            tf.range(first, tf.minimum(first + batch_size, n)),
            seed=tf.random.fold_in(order_seed, epoch),
            max_index=tf.constant(n - 1, tf.int64),
        )
        inputs = preprocessing(tf.gather(x, indices))
        if augment != "none":
            inputs = _crop(inputs, tf.random.fold_in(augmentation_seed, step), augment)
        labels = tf.gather(y, indices)
        return (inputs, labels, tf.gather(ids, indices)) if with_ids else (inputs, labels)

    dataset = tf.data.Dataset.range(start_step, tf.int64.max)
    return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    examples: Examples, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Returns all examples once, in their order, in batches.

    Args:
        examples: The examples.
        preprocessing: Standardization.
        batch_size: Examples in a batch; the last may be smaller.

    Returns:
        A finite data set of (x, y): x float32 (batch, ...), y int64 (batch,).

    Raises:
        UsageError: No examples, or a batch size below 1.
    """
    _check(examples, batch_size, "none")
    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.from_tensor_slices((examples.x, examples.y))
    return (
        dataset.batch(batch_size)
        .map(lambda x, y: (preprocessing(x), y), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _check(examples: Examples, batch_size: int, augment: str) -> None:
    """Refuses what gives no batches."""
    if not len(examples):
        raise UsageError("there are no examples to make batches of.")
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}.")
    if augment not in get_args(Augmentation):
        raise UsageError(
            f"augment must be one of {', '.join(get_args(Augmentation))}, got {augment!r}."
        )
    if augment != "none" and examples.x.ndim != 4:
        raise UsageError(f"augment={augment!r} is for images; for tables it must be 'none'.")


def _crop(images: tf.Tensor, seed: tf.Tensor, augment: str) -> tf.Tensor:
    """Shifts each image at random, filling with 0, and mirrors it where asked.

    Args:
        images: (batch, height, width, channels) float32.
        seed: Two integers.
        augment: `"crop"` or `"crop_flip"`.

    Returns:
        Images of the same shape.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    draws = tf.random.stateless_uniform([3, batch], seed, alg="philox")
    borders = [max(1, round(size / 8)) for size in (width, height)]
    right, down = (
        tf.floor(draws[axis] * (2 * border + 1)) - border for axis, border in enumerate(borders)
    )
    mirrored = tf.cast(draws[2] < 0.5, tf.float32) * (1.0 if augment == "crop_flip" else 0.0)
    zero, one = tf.zeros_like(right), tf.ones_like(right)
    # Output pixel (column, row) comes from (a0 column + a1 row + a2, b0 column + b1 row + b2).
    transforms = tf.stack(
        [1 - 2 * mirrored, zero, right + mirrored * (width - 1), zero, one, down, zero, zero], axis=1
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
