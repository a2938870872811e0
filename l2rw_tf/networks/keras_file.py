"""A network that Keras saved in a file."""

from __future__ import annotations

import os

import keras

from l2rw_tf.errors import UsageError
from l2rw_tf.networks import own_network
from l2rw_tf.networks.weights import Weights


def build(
    path: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
) -> keras.Model:
    """Loads a network with its parameters, in safe mode: no code of the file is run.

    Args:
        path: A .keras file.
        input_shape: Shape of one input.
        num_classes: Number of logits.
        weights: Decay of its kernels.
        dropout: Must be None or 0, as the network has its own layers.

    Returns:
        A functional model to logits (batch, num_classes).

    Raises:
        UsageError: If it cannot be loaded in safe mode, or does not fit the data.
    """
    try:
        network = keras.saving.load_model(os.path.expanduser(path), compile=False, safe_mode=True)
    except Exception as error:
        raise UsageError(
            f"network {path!r} cannot be loaded: {own_network.reason(error)}; give a network with "
            "custom layers as package.module:function."
        ) from error
    return own_network.adopt(network, path, input_shape, num_classes, weights, dropout)
