"""Finds what forward mode does not support in a graph: loops, branches and custom gradients.

TensorFlow's forward accumulator carries tangents through operations. In a loop or a branch it
raises an error or, in a simple recurrent layer, silently returns wrong numbers. It differentiates
the operations inside a `tf.custom_gradient` and ignores the gradient defined for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.explain import has_own_gradient

_LOOPS = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")

# Returns the functions of a graph by name. This copies them, so it is called only when needed.
_Functions = Callable[[], dict[str, Any]]


def refuse_obstacles(variables: list[tf.Variable], losses: tf.Tensor | None = None) -> None:
    """Refuses operations that forward mode does not support, in the graph being traced.

    Args:
        variables: The variables that tangents start from.
        losses: The losses; None if the pass failed before computing them.

    Raises:
        UsageError: If there is such an operation between the variables and the losses.
    """
    graph = tf.compat.v1.get_default_graph()
    functions = functools.cache(lambda: _functions_of(graph))
    before_losses = None if losses is None else _before(losses)
    handles = {id(variable.handle) for variable in variables}
    left = [inner for outer, inner in graph.captures if id(outer) in handles]
    met: set[str] = set()
    while left:
        for operation in left.pop().consumers():
            # Not the backward pass on the clean batch: it has loops if its forward pass has.
            if operation.name in met or "gradient_tape/" in operation.name:
                continue
            met.add(operation.name)
            if before_losses is not None and operation.name not in before_losses:
                continue
            if found := _obstacle(operation.node_def, functions):
                place = operation.name.rpartition("/")[0]
                raise UsageError(
                    f"meta_gradient='forward' does not support the operation {found}"
                    f"{f' (of {place})' if place else ''}, which is a loop, a branch or has a "
                    "custom gradient: choose meta_gradient='nested'."
                )
            left += operation.outputs


def _before(tensor: tf.Tensor) -> set[str]:
    """Returns the names of all operations that a tensor depends on."""
    found: set[str] = set()
    left = [tensor.op]
    while left:
        operation = left.pop()
        if operation.name not in found:
            found.add(operation.name)
            left += [one.op for one in operation.inputs]
    return found


def _functions_of(graph: tf.Graph) -> dict[str, Any]:
    return {one.signature.name: one for one in graph.as_graph_def().library.function}


def _obstacle(node: Any, functions: _Functions) -> str:
    """Returns the type of an unsupported operation, the node's or one in its function, or ""."""
    if node.op in _LOOPS or has_own_gradient(node):
        return node.op
    if node.op not in _CALLS:
        return ""
    body = functions()[node.attr["f"].func.name].node_def
    return next(filter(None, (_obstacle(inner, functions) for inner in body)), "")
