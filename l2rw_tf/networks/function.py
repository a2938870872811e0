"""A network that a user's function returns."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import keras

from l2rw_tf.errors import UsageError
from l2rw_tf.networks import own_network
from l2rw_tf.networks.weights import Weights


def build(
    module: str,
    function: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    weights: Weights,
    dropout: float | None,
) -> keras.Model:
    """Imports a module, which runs its code, and calls the function.

    Args:
        module: The module's name, `package.module`; the working directory is searched too.
        function: Its function; called with the keyword arguments `input_shape` (a tuple) and
            `num_classes`, it returns a `keras.Model`.
        input_shape: Shape of one input.
        num_classes: Number of logits.
        weights: Decay of its kernels.
        dropout: Must be None or 0, as the network has its own layers.

    Returns:
        A functional model to logits (batch, num_classes).

    Raises:
        UsageError: If there is no such function, it fails, or its network does not fit the data.
    """
    what = f"{module}:{function}"
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"network {what!r}: {module} cannot be imported: {own_network.reason(error)}"
            f"{_place(error)}."
        ) from error
    make = getattr(found, function, None)
    if not callable(make):
        raise UsageError(f"network {what!r}: {module} has no function {function!r}.")
    try:
        network = make(input_shape=input_shape, num_classes=num_classes)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"network {what!r} failed when called with input_shape={input_shape} and "
            f"num_classes={num_classes}: {own_network.reason(error)}{_place(error)}."
        ) from error
    return own_network.adopt(network, what, input_shape, num_classes, weights, dropout)


def _place(error: BaseException) -> str:
    """Returns the place of an error in the user's code, as text; empty if it is elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if frame.filename != __file__
        and "site-packages" not in frame.filename
        and "importlib" not in frame.filename
    ]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
