"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from __future__ import annotations

import keras
from keras import layers

from l2rw_tf.networks.weights import Weights


def build(
    depth: int,
    width: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
) -> keras.Model:
    """WRN-depth-width: three stages of n blocks with 16k, 32k and 64k channels; depth = 6n + 4.

    Blocks are pre-activated (batch normalization and ReLU before each convolution), dropout is
    between the two convolutions of a block, and a shortcut that changes its channels is a 1x1
    convolution. WRN-28-10 for CIFAR-10 has 36.5 million parameters.

    Args:
        depth: Number of layers, 6n + 4.
        width: The factor k.
        input_shape: (height, width, channels).
        num_classes: Number of logits.
        weights: Initializer and decay of the kernels.
        dropout: Fraction of values between a block's convolutions dropped in training; None: 0.3.

    Returns:
        A functional model to logits (batch, num_classes).
    """
    dropout = 0.3 if dropout is None else dropout
    blocks_per_stage = (depth - 4) // 6
    inputs = keras.Input(input_shape)
    x = _convolution(inputs, 16, 3, 1, weights)
    for stage, filters in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range(blocks_per_stage):
            strides = 2 if stage > 0 and block == 0 else 1
            x = _block(x, filters, strides, weights, dropout)
    x = layers.GlobalAveragePooling2D()(_activation(x, weights))
    outputs = layers.Dense(num_classes, **weights.kernel())(x)
    return keras.Model(inputs, outputs, name=f"wrn{depth}_{width}")


def _block(
    x: keras.KerasTensor, filters: int, strides: int, weights: Weights, dropout: float
) -> keras.KerasTensor:
    """Returns shortcut(x) + two pre-activated convolutions of x."""
    activated = _activation(x, weights)
    if x.shape[-1] != filters or strides > 1:
        x = _convolution(activated, filters, 1, strides, weights)
    residual = _activation(_convolution(activated, filters, 3, strides, weights), weights)
    if dropout:
        residual = layers.Dropout(dropout, seed=weights.next_seed())(residual)
    return layers.Add()([x, _convolution(residual, filters, 3, 1, weights)])


def _activation(x: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization(**weights.batch_normalization())(x))


def _convolution(
    x: keras.KerasTensor, filters: int, size: int, strides: int, weights: Weights
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, **weights.kernel()
    )(x)
