"""Which of a network's variables the meta-gradient is taken through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from l2rw_tf.errors import UsageError

MetaVariables = str | Callable[[keras.Variable], bool]


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
        meta_variables: "all" for every trainable variable, as in the paper; "head" for those of the
            last layer that has any, for every output; or a function that is given a
            `keras.Variable` and returns whether it takes part.

    Returns:
        The variables, in the order of `network.trainable_variables`.

    Raises:
        UsageError: If the network has no trainable variable, or none is selected.
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
    if isinstance(network, keras.Sequential) or not hasattr(network, "outputs"):
        return _last_with_variables(getattr(network, "layers", []))
    head = []
    for output in keras.tree.flatten(network.outputs):
        head += _nearest_to(output)
    return head


def _nearest_to(output: Any) -> list[keras.Variable]:
    """Walks from an output of a functional model towards its inputs, to the first variables."""
    operation = output._keras_history.operation
    if isinstance(operation, keras.Model) and operation.trainable_variables:
        return _head_variables(operation)
    if getattr(operation, "trainable_variables", None):
        return operation.trainable_variables
    node = operation._inbound_nodes[output._keras_history.node_index]
    return [variable for tensor in node.input_tensors for variable in _nearest_to(tensor)]


def _last_with_variables(layers: list[keras.Layer]) -> list[keras.Variable]:
    for layer in reversed(layers):
        if isinstance(layer, keras.Model) and layer.trainable_variables:
            return _head_variables(layer)
        if layer.trainable_variables:
            return layer.trainable_variables
    return []
