"""LeNet, the small convolutional network of the paper's MNIST experiment."""

from __future__ import annotations

import functools

import keras
from keras import layers

from l2rw_tf.networks.weights import Weights


def build(
    input_shape: tuple[int, int, int], num_classes: int, weights: Weights, dropout: float | None
) -> keras.Model:
    """Three 5x5 convolutions with max pooling (16, 32, 64 channels), 100 hidden units, logits.

    After LeCun et al. 1998, in the sizes that Ren et al. 2018 used for MNIST. Kernels start as in
    Glorot and Bengio 2010: as this network has no normalization, He's initializer makes its logits
    so large (a first loss of 11 on Fashion-MNIST) that weighted training often failed.

    Args:
        input_shape: (height, width, channels).
        num_classes: Number of logits.
        weights: Initializer and decay of the kernels.
        dropout: Fraction of the hidden units dropped in training; None: 0.

    Returns:
        A functional model to logits (batch, num_classes).
    """
    kernel = functools.partial(weights.kernel, keras.initializers.GlorotUniform)
    inputs = keras.Input(input_shape)
    x = inputs
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 5, padding="same", activation="relu", **kernel())(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(100, activation="relu", **kernel())(x)
    if dropout:
        x = layers.Dropout(dropout, seed=weights.next_seed())(x)
    return keras.Model(inputs, layers.Dense(num_classes, **kernel())(x), name="lenet")
