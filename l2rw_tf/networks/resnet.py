"""ResNets for small images (He et al. 2015, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

import keras
from keras import layers

from l2rw_tf.errors import UsageError
from l2rw_tf.networks.weights import Weights


def build(
    depth: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
) -> keras.Model:
    """Three stages of n blocks with 16, 32 and 64 channels; depth = 6n + 2.

    Shortcuts have no parameters (option A of the paper: subsampling, zeros for the new channels),
    so that ResNet-32 for CIFAR-10 has 0.46 million parameters.

    Args:
        depth: Number of layers with weights, 6n + 2.
        input_shape: (height, width, channels).
        num_classes: Number of logits.
        weights: Initializer and decay of the kernels.
        dropout: Must be None or 0, as a ResNet has no dropout.

    Returns:
        A functional model to logits (batch, num_classes).

    Raises:
        UsageError: If `dropout` is above 0.
    """
    if dropout:
        raise UsageError(
            f"network 'resnet{depth}' has no dropout; set dropout to 0, got {dropout}."
        )
    blocks_per_stage = (depth - 2) // 6
    inputs = keras.Input(input_shape)
    x = layers.ReLU()(_convolution(inputs, 16, 1, weights))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(blocks_per_stage):
            x = _block(x, filters, 2 if stage > 0 and block == 0 else 1, weights)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(num_classes, **weights.kernel())(x)
    return keras.Model(inputs, outputs, name=f"resnet{depth}")


def _block(x: keras.KerasTensor, filters: int, strides: int, weights: Weights) -> keras.KerasTensor:
    """Returns relu(shortcut(x) + two convolutions of x)."""
    residual = layers.ReLU()(_convolution(x, filters, strides, weights))
    residual = _convolution(residual, filters, 1, weights)
    return layers.ReLU()(layers.Add()([_shortcut(x, filters, strides), residual]))


def _convolution(
    x: keras.KerasTensor, filters: int, strides: int, weights: Weights
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=False, **weights.kernel()
    )(x)
    return layers.BatchNormalization(**weights.batch_normalization())(x)


def _shortcut(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Returns x, subsampled by the strides, with zeros in the channels that it lacks."""
    if strides > 1:
        x = layers.MaxPooling2D(1, strides=strides, padding="same")(x)
    missing = filters - x.shape[-1]
    if missing:
        before = missing // 2
        x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, missing - before]])
    return x
