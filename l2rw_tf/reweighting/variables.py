"""Selects the variables of a network that the meta-gradient is computed for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.keras_internals import operation_and_inputs

MetaVariables = Literal["all", "last_block", "head"] | Callable[[keras.Variable], bool]


class NoSuchPart(UsageError):
    """A network does not show the part that `meta_variables` names.

    Attributes:
        reason: The message without its advice, to give a function.
    """

    def __init__(self, reason: str) -> None:
        """Sets the message."""
        super().__init__(
            f"{reason}: give a function that selects the variables of its last layers, such as "
            "meta_variables=lambda variable: variable.path.startswith('NAME/')."
        )
        self.reason = reason


@contextlib.contextmanager
def watching(
    variables: list[keras.Variable], persistent: bool = False
) -> Iterator[tf.GradientTape]:
    """A tape that watches these variables only, so that a frozen backbone costs nothing to record.

    By default, a tape also watches the variables of frozen layers and traces a backward pass
    through them, which TensorFlow's graph optimizer has to remove again.
    """
    with tf.GradientTape(persistent, watch_accessed_variables=False) as tape:
        for variable in variables:
            tape.watch(variable.value)
        yield tape


def check_meta_variables(meta_variables: MetaVariables) -> None:
    """Refuses anything but "all", "last_block", "head" or a function of a variable.

    Raises:
        UsageError: If it is anything else.
    """
    if meta_variables not in ("all", *_PARTS) and not callable(meta_variables):
        raise UsageError(
            f"meta_variables must be 'all', 'last_block', 'head' or a function of a variable, got "
            f"{meta_variables!r}."
        )


def select_meta_variables(
    network: keras.Model, meta_variables: MetaVariables
) -> list[keras.Variable]:
    """Returns the trainable variables that u is computed for.

    Args:
        network: A built network.
        meta_variables: "all" for every trainable variable, as in the paper; "last_block" for those
            from the last residual block on; "head" for those of the nearest layers with kernels,
            walking back from every output; or a function that takes a `keras.Variable` and returns
            whether to include it.

    Returns:
        The variables, in the order of `network.trainable_variables`.

    Raises:
        UsageError: If the network has no trainable variable, none is selected, or the network
            does not show its head or blocks.
    """
    trainable = network.trainable_variables
    if not trainable:
        raise UsageError(
            f"The network {network.name!r} has no trainable variables: set trainable = True on the "
            "layers to train."
        )
    if meta_variables == "all":
        return trainable
    if isinstance(meta_variables, str):
        chosen = {id(variable) for variable in _PARTS[meta_variables](network)}
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
    """Returns the variables of the layers with kernels that are nearest to the outputs."""
    if isinstance(network, keras.Sequential):
        for layer in reversed(network.layers):
            if found := _of_layer(layer):
                return found
        return []
    # Walks towards the inputs, to the first kernels; a tensor may be reached along several paths.
    found, met, left = [], set(), _outputs(network, "head")
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
    """Returns the trainable variables of a layer with a kernel; for a model, those of its head.

    Layers that only scale and shift their inputs, such as normalization, have no kernel.
    """
    kernels = (one for one in layer.trainable_variables if one.name not in ("gamma", "beta"))
    if not any(len(variable.shape) > 1 for variable in kernels):
        return []
    if isinstance(layer, keras.Model):
        return _head_variables(layer)
    return layer.trainable_variables


def _last_block_variables(network: keras.Model) -> list[keras.Variable]:
    """Returns the variables after the last but one layer that merges several tensors."""
    found: list[keras.Variable] = []
    met, merges = set(), 0
    left = [(tensor, 0) for tensor in _outputs(network, "last_block")]
    while left:
        tensor, merged = left.pop(0)
        if (id(tensor), merged) in met:
            continue
        met.add((id(tensor), merged))
        operation, inputs = operation_and_inputs(tensor)
        is_merge = len({id(one) for one in inputs}) > 1
        merges = max(merges, merged + is_merge)
        if is_merge and merged:
            continue
        found += operation.trainable_variables if isinstance(operation, keras.Layer) else []
        left += [(one, merged + is_merge) for one in inputs]
    if merges < 2:
        raise NoSuchPart(
            f"meta_variables='last_block': the network {network.name!r} has no residual blocks"
        )
    return found


def _outputs(network: keras.Model, meta_variables: str) -> list[keras.KerasTensor]:
    outputs = keras.tree.flatten(getattr(network, "outputs", None) or [])
    if not outputs:
        raise NoSuchPart(
            f"meta_variables={meta_variables!r}: {network.name!r} is a subclassed model, and the "
            "order of its layers is unknown"
        )
    return outputs


_PARTS = {"last_block": _last_block_variables, "head": _head_variables}
