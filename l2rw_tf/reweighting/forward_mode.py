"""What forward mode cannot follow in a graph: loops, branches and gradients of somebody's own.

TensorFlow's forward accumulator carries tangents through operations. In a loop or a branch it ends
with an error or, in a simple recurrent layer, gives a wrong number without a word; and it takes the
operations within a `tf.custom_gradient` for what they are, whatever gradient was defined for them.
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

# The functions of a graph by name; they are copied out of it, so that is left until one is called.
_Functions = Callable[[], dict[str, Any]]


def refuse_obstacles(variables: list[tf.Variable], losses: tf.Tensor | None = None) -> None:
    """Refuses what tangents do not follow, in the graph that is traced.

    Args:
        variables: Those that move.
        losses: What they move; None if the pass did not get as far.

    Raises:
        UsageError: If there is something of the kind between both.
    """
    graph = tf.compat.v1.get_default_graph()
    functions = functools.cache(lambda: _functions_of(graph))
    before_losses = None if losses is None else _before(losses)
    handles = {id(variable.handle) for variable in variables}
    left = [inner for outer, inner in graph.captures if id(outer) in handles]
    met: set[str] = set()
    while left:
        for operation in left.pop().consumers():
            # The way back through the clean pass, which comes first, has loops if that has.
            if operation.name in met or "gradient_tape/" in operation.name:
                continue
            met.add(operation.name)
            if before_losses is not None and operation.name not in before_losses:
                continue
            if found := _obstacle(operation.node_def, functions):
                place = operation.name.rpartition("/")[0]
                raise UsageError(
                    f"meta_gradient='forward' cannot follow the operation {found}"
                    f"{f' (of {place})' if place else ''}, which is a loop, a branch or has a "
                    "gradient of its own: choose meta_gradient='nested'."
                )
            left += operation.outputs


def _before(tensor: tf.Tensor) -> set[str]:
    """The names of all operations that a tensor is made by."""
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
    """The type of what cannot be followed: a node or, if it calls a function, one in its body."""
    if node.op in _LOOPS or has_own_gradient(node):
        return node.op
    if node.op not in _CALLS:
        return ""
    body = functions()[node.attr["f"].func.name].node_def
    return next(filter(None, (_obstacle(inner, functions) for inner in body)), "")
