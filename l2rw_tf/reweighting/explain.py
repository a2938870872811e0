"""TensorFlow's errors, as sentences for the person who trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from l2rw_tf.errors import UsageError

# What TensorFlow raises if there is no gradient of a gradient. The last is a fault of its message
# on recomputed activations, which asks a layer for the name of a function.
NO_SECOND_DERIVATIVE = (LookupError, NotImplementedError, AttributeError)

_WAY_OUT = (
    "has no second derivative: build the layer without it (LSTM and GRU on a GPU: "
    "use_cudnn=False), or choose meta_gradient='finite_difference', which needs none."
)


def no_second_derivative(error: Exception, losses: tf.Tensor) -> Exception:
    """Turns the lack of a gradient of a gradient into a sentence that names operation and layer."""
    if isinstance(error, AttributeError) and "__name__" not in str(error):
        return error
    missing = re.search(r"no entry for: (\w+?)(Grad|Backprop)", str(error))
    if missing:
        operation, places = missing[1], _places(losses, lambda one: one.type.startswith(missing[1]))
    else:
        # Recomputed activations (keras.remat, tf.recompute_grad) are gradients of their own.
        operation = "recompute_grad"
        places = _places(losses, lambda one: has_own_gradient(one.node_def))
    return UsageError(f"The operation {operation}{places} {_WAY_OUT}")


def _places(losses: tf.Tensor, is_one: Callable[[tf.Operation], bool]) -> str:
    """Says in which layers operations stand, which a graph knows by the paths in its names."""
    if tf.executing_eagerly():
        return ""
    operations = losses.graph.get_operations()
    paths = {
        one.name.rpartition("/")[0]
        for one in operations
        if is_one(one) and not one.name.startswith("gradient_tape/")
    } - {""}
    return f" (of {', '.join(sorted(paths))})" if paths else ""


def has_own_gradient(node: Any) -> bool:
    """Whether a node of a graph is the end of a `tf.custom_gradient`."""
    return node.op == "IdentityN" and "_gradient_op_type" in node.attr


def sparse_label_error(error: tf.errors.InvalidArgumentError) -> UsageError | None:
    """Turns TensorFlow's complaint about a sparse label into a sentence, and others into None."""
    complaint = re.search(
        r"label value of (\S+) which is outside the valid range of (\[.*?\))", str(error)
    )
    if complaint is None:
        return None
    return UsageError(
        f"A batch holds the label {complaint[1]}, outside the network's classes {complaint[2]}: "
        "labels must be whole numbers from 0 to the number of classes minus 1."
    )


def py_function_error(error: tf.errors.OpError) -> UsageError | None:
    """Turns TensorFlow's complaint that a py_function gives one gradient only into a sentence."""
    node = re.search(r"gradient_tape/(\S+)/EagerPyFunc\w*", str(error))
    if node is None or "KeyError" not in str(error):
        return None
    return UsageError(f"The operation py_function (of {node[1]}) {_WAY_OUT}")
