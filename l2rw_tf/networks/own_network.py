"""Checks users' networks, and makes them return logits."""

from __future__ import annotations

import re
from typing import Any

import keras

from l2rw_tf.command_line.counting import counted
from l2rw_tf.errors import UsageError
from l2rw_tf.networks.weights import Weights

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def adopt(
    network: Any,
    what: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
) -> keras.Model:
    """Checks a network, removes a softmax at its end, and adds weight decay to its kernels.

    Args:
        network: The user's network.
        what: Its name in messages.
        input_shape: Shape of one input.
        num_classes: Number of classes.
        weights: Decay of the kernels without a regularizer.
        dropout: Must be None or 0, as the network has its own layers.

    Returns:
        A functional model to logits (batch, num_classes), of the same layers.

    Raises:
        UsageError: If it does not fit the data.
    """
    if dropout:
        raise UsageError(
            f"network {what!r} has its own layers, which dropout cannot change; leave it out, got "
            f"dropout={dropout:g}."
        )
    if not isinstance(network, keras.Model):
        raise UsageError(
            f"network {what!r} must be a keras.Model, got an object of type "
            f"{type(network).__name__}."
        )
    network = _functional(network, what, input_shape)
    output_shape = network.output_shape
    if not isinstance(output_shape, tuple) or output_shape[1:] != (num_classes,):
        raise UsageError(
            f"network {what!r} must have one output of {num_classes} numbers, one for each class "
            f"of the data, got outputs of shape {output_shape} (the first size is the batch's)."
        )
    network = _without_softmax(network, what)
    if not network.trainable_variables:
        raise UsageError(
            f"network {what!r} has no trainable variables: set trainable = True on the layers to "
            "train."
        )
    weights.decay_kernels(network)
    return network


def reason(error: BaseException) -> str:
    """Returns an error in one line without its full stop."""
    lines = [_COLOURS.sub("", line).strip() for line in str(error).splitlines()]
    # Keras puts this line before the actual message.
    lines = [line for line in lines if line and not line.startswith("Exception encountered when")]
    text = lines[0][:300].rstrip(" .:") if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _functional(network: keras.Model, what: str, input_shape: tuple[int, ...]) -> keras.Model:
    """Returns a functional model with one input of this shape."""
    if not getattr(network, "inputs", None):
        symbolic = keras.Input(input_shape)
        try:
            outputs = network(symbolic)
        except Exception as error:
            raise UsageError(
                f"network {what!r} cannot be called on inputs of the shape {input_shape}: "
                f"{reason(error)}."
            ) from error
        if not isinstance(network, keras.Sequential):
            return keras.Model(symbolic, outputs, name=network.name)
    shapes = [tuple(one.shape[1:]) for one in keras.tree.flatten(network.inputs)]
    if len(shapes) != 1 or not _fits(shapes[0], input_shape):
        is_image = len(shapes) == 1 and len(shapes[0]) == len(input_shape) == 3
        can_be_scaled = is_image and _fits(shapes[0][2:], input_shape[2:])
        raise UsageError(
            f"network {what!r} takes {counted(len(shapes), 'input')} of the shape "
            f"{' and '.join(map(str, shapes))}, but the data has one of {input_shape}"
            + ("; set image_size to scale images." if can_be_scaled else ".")
        )
    if isinstance(network, keras.Sequential):
        return keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    return network


def _fits(wanted: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        one in (None, size) for one, size in zip(wanted, shape, strict=True)
    )


def _without_softmax(network: keras.Model, what: str) -> keras.Model:
    """Returns a model without the softmax at its end, which returns logits."""
    last = network.operations[-1]
    # keras.layers.Softmax, or keras.ops.softmax in the graph of a functional model.
    if type(last).__name__ == "Softmax" or _activation(last) == "layer":
        return keras.Model(network.input, last.input, name=network.name)
    while isinstance(last, keras.Model) and last.layers:
        last = last.layers[-1]
    if _activation(last) == "argument":
        last.activation = keras.activations.linear
    elif _activation(last) or _is_bounded(last):
        raise UsageError(
            f"network {what!r} ends in {last.name!r}, which does not return logits: end it in one "
            "logit per class, or in a softmax that is not part of a nested model."
        )
    return network


def _activation(operation: Any) -> str:
    """Returns how an operation ends in a softmax: as a layer, by an argument, or not (empty)."""
    if getattr(operation, "activation", None) is not keras.activations.softmax:
        return ""
    return "layer" if isinstance(operation, keras.layers.Activation) else "argument"


def _is_bounded(operation: Any) -> bool:
    """Returns whether the outputs of an operation are bounded, unlike logits."""
    bounded = (keras.activations.sigmoid, keras.activations.tanh)
    return getattr(operation, "activation", None) in bounded or type(operation).__name__ in (
        "Softmax",
        "Sigmoid",
        "Tanh",
    )
