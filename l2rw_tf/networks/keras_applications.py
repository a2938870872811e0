"""The networks of keras.applications, with a new head."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from l2rw_tf.errors import UsageError
from l2rw_tf.networks import own_network
from l2rw_tf.networks.weights import Weights

IMAGENET, NONE = "imagenet", "none"


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
    network_weights: str = "",
    freeze_backbone: bool = False,
) -> keras.Model:
    """Builds a network's own preprocessing, its backbone, mean pooling and a new head.

    Args:
        name: Name of a function of keras.applications, such as "MobileNetV2".
        input_shape: (height, width, channels); grey images become three equal channels.
        num_classes: Number of logits.
        weights: Initializer of the head, and decay of all trainable kernels.
        dropout: Fraction of the backbone's outputs dropped in training; None: 0.
        network_weights: "imagenet" (also if empty), "none" or a file of weights.
        freeze_backbone: Whether to train the head only.

    Returns:
        A functional model from images as they are, 0 to 255, to logits (batch, num_classes).

    Raises:
        UsageError: If there is no such network, or it does not take such images or weights.
    """
    make, preprocess_input = _functions(name)
    inputs = keras.Input(input_shape)
    x = inputs
    if input_shape[-1] == 1:
        x = layers.Concatenate()([x] * 3)
    x = _preprocessed(x, preprocess_input)
    backbone = _backbone(name, make, input_shape[:2], network_weights or IMAGENET)
    backbone.trainable = not freeze_backbone
    x = backbone(x)
    if dropout:
        x = layers.Dropout(dropout, seed=weights.next_seed())(x)
    kernel = weights.kernel(keras.initializers.GlorotUniform)
    network = keras.Model(
        inputs, layers.Dense(num_classes, **kernel)(x), name=f"{backbone.name}_with_head"
    )
    weights.decay_kernels(network)
    return network


def _functions(name: str) -> tuple[Callable[..., keras.Model], Callable[[np.ndarray], np.ndarray]]:
    """Returns the function that makes a network, and the one that preprocesses its inputs."""
    names = set()
    for module in pkgutil.iter_modules(keras.applications.__path__):
        found = importlib.import_module(f"{keras.applications.__name__}.{module.name}")
        if hasattr(found, "preprocess_input") and name in vars(found) and name[0].isupper():
            return getattr(found, name), found.preprocess_input
        if hasattr(found, "preprocess_input"):
            names |= {one for one in vars(found) if one[0].isupper()}
    raise UsageError(
        f"network 'keras.applications:{name}' is not known; possible are "
        f"{', '.join(sorted(names))}."
    )


def _preprocessed(
    x: keras.KerasTensor, preprocess_input: Callable[[np.ndarray], np.ndarray]
) -> keras.KerasTensor:
    """Applies a preprocessing function of keras.applications, as layers that plain Keras loads.

    All of these functions scale and shift each channel, and some reverse the order of the channels,
    so their results for black and for one full channel determine them.
    """
    black, red, green, blue = preprocess_input(
        np.float32([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]).reshape(4, 1, 1, 3)
    ).reshape(4, 3)
    changes = np.stack([red, green, blue]).astype(np.float64) - black
    if changes[0, 0] == 0:
        x = keras.ops.flip(x, axis=-1)
        changes = changes[::-1]
    scale = np.diag(changes) / 255
    if np.all(scale == 1) and not black.any():
        return x
    return layers.Rescaling(scale.tolist(), black.tolist(), dtype="float32")(x)


def _backbone(
    name: str, make: Callable[..., keras.Model], size: tuple[int, int], network_weights: str
) -> keras.Model:
    what = f"network 'keras.applications:{name}'"
    try:
        with warnings.catch_warnings():
            # Keras warns about the image size that the weights were made for.
            warnings.simplefilter("ignore")
            return make(
                include_top=False,
                weights=None if network_weights == NONE else network_weights,
                input_shape=(*size, 3),
                pooling="avg",
            )
    except Exception as error:
        if "URL fetch failure" in str(error):
            raise UsageError(
                f"{what}: the weights {network_weights!r} were not found locally and could not be "
                f"downloaded ({own_network.reason(error)}); give a file with network_weights=FILE, "
                "or use network_weights=none for random weights."
            ) from error
        is_of_size = "input_shape" in str(error)
        raise UsageError(
            f"{what} cannot be made for images of {size[0]}x{size[1]} with "
            f"network_weights={network_weights}: {own_network.reason(error)}."
            + (" Set image_size to scale images." if is_of_size else "")
        ) from error
