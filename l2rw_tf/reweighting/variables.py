"""Which of a network's variables the meta-gradient is taken through."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.keras_internals import operation_and_inputs

MetaVariables = Literal["all", "head"] | Callable[[keras.Variable], bool]


@contextlib.contextmanager
def watching(
    variables: list[keras.Variable], persistent: bool = False
) -> Iterator[tf.GradientTape]:
    """A tape that records by these variables alone: a frozen backbone costs nothing to record.

    TensorFlow's tape watches all variables, those of frozen layers too, and traces the way back
    through them, for the optimizer of graphs to take out again.
    """
    with tf.GradientTape(persistent, watch_accessed_variables=False) as tape:
        for variable in variables:
            tape.watch(variable.value)
        yield tape


def check_meta_variables(meta_variables: MetaVariables) -> None:
    """Refuses anything but "all", "head" or a function of a variable.

    Raises:
        UsageError: If it is none of them.
    """
    if meta_variables not in ("all", "head") and not callable(meta_variables):
        raise UsageError(
            f"meta_variables must be 'all', 'head' or a function of a variable, got "
            f"{meta_variables!r}."
        )


def select_meta_variables(
    network: keras.Model, meta_variables: MetaVariables
) -> list[keras.Variable]:
    """Returns the trainable variables that u is taken through.

    Args:
        network: A built network.
        meta_variables: "all" for every trainable variable, as in the paper; "head" for those of
            the nearest layers with kernels, walking back from every output; or a function that is
            given a `keras.Variable` and returns whether it takes part.

    Returns:
        The variables, in the order of `network.trainable_variables`.

    Raises:
        UsageError: If the network has no trainable variable, none is selected, or the head of a
            subclassed network is asked for, whose graph nobody knows.
    """
    trainable = network.trainable_variables
    if not trainable:
        raise UsageError(
            f"The network {network.name!r} has no trainable variables: set trainable = True on the "
            "layers that are to learn."
        )
    if meta_variables == "all":
        return trainable
    if meta_variables == "head":
        chosen = {id(variable) for variable in _head_variables(network)}
        selected = [variable for variable in trainable if id(variable) in chosen]
    else:
        selected = [variable for variable in trainable if meta_variables(variable)]
    if not selected:
        raise UsageError(
            f"meta_variables={meta_variables!r} selects none of the {len(trainable)} trainable "
            f"variables of the network {network.name!r}; their paths begin with "
            f"{trainable[0].path!r}."
        )
    return selected


def _head_variables(network: keras.Model) -> list[keras.Variable]:
    """The variables of the layers with kernels that are nearest to the outputs."""
    if isinstance(network, keras.Sequential):
        for layer in reversed(network.layers):
            if found := _of_layer(layer):
                return found
        return []
    outputs = keras.tree.flatten(getattr(network, "outputs", None) or [])
    if not outputs:
        raise UsageError(
            f"meta_variables='head': {network.name!r} is a subclassed model, whose layers have no "
            "order that could be seen: give a function that picks the variables of its last layer, "
            "such as meta_variables=lambda variable: variable.path.startswith('NAME/')."
        )
    # Walks towards the inputs, to the first kernels; a tensor may be reached in many ways.
    found, met, left = [], set(), list(outputs)
    while left:
        tensor = left.pop(0)
        if id(tensor) in met:
            continue
        met.add(id(tensor))
        operation, inputs = operation_and_inputs(tensor)
        head = _of_layer(operation) if isinstance(operation, keras.Layer) else []
        found += head
        left += [] if head else inputs
    return found


def _of_layer(layer: keras.Layer) -> list[keras.Variable]:
    """The trainable variables of a layer that has a kernel, of a model those of its head.

    Layers that only shift and scale what they are given, as normalization does, have none.
    """
    kernels = (one for one in layer.trainable_variables if one.name not in ("gamma", "beta"))
    if not any(len(variable.shape) > 1 for variable in kernels):
        return []
    if isinstance(layer, keras.Model):
        return _head_variables(layer)
    return layer.trainable_variables
