"""A multilayer perceptron, for tables."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from l2rw_tf.networks.weights import Weights


def build(
    input_shape: Sequence[int],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
    hidden_units: Sequence[int] = (128, 128),
) -> keras.Model:
    """Hidden layers with ReLU, then logits; inputs of any rank are flattened.

    Args:
        input_shape: Shape of one input, (features,) for a row of a table.
        num_classes: Number of logits.
        weights: Initializer and decay of the kernels.
        dropout: Fraction of each hidden layer's units dropped in training; None: 0.
        hidden_units: Width of each hidden layer.

    Returns:
        A functional model to logits (batch, num_classes).
    """
    inputs = keras.Input(tuple(input_shape))
    x = layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    for units in hidden_units:
        x = layers.Dense(units, activation="relu", **weights.kernel())(x)
        if dropout:
            x = layers.Dropout(dropout, seed=weights.next_seed())(x)
    return keras.Model(inputs, layers.Dense(num_classes, **weights.kernel())(x), name="mlp")
