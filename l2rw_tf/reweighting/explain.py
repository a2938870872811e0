"""Turns TensorFlow's errors into messages that name the cause and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from l2rw_tf.errors import UsageError

# What TensorFlow raises if an operation has no second derivative. For recomputed activations it
# raises AttributeError, as its error message reads the `__name__` of a layer.
NO_SECOND_DERIVATIVE = (LookupError, NotImplementedError, AttributeError)

_WAY_OUT = (
    "has no second derivative: build the layer without it (LSTM and GRU on a GPU: "
    "use_cudnn=False), or choose meta_gradient='finite_difference', which needs none."
)


def no_second_derivative(error: Exception, losses: tf.Tensor) -> Exception:
    """Returns a `UsageError` that names the operation without a second derivative and its layer.

    An unrelated `AttributeError` is returned unchanged.
    """
    if isinstance(error, AttributeError) and "__name__" not in str(error):
        return error
    missing = re.search(r"no entry for: (\w+?)(Grad|Backprop)", str(error))
    if missing:
        operation, places = missing[1], _places(losses, lambda one: one.type.startswith(missing[1]))
    else:
        # Recomputed activations (keras.remat, tf.recompute_grad) define a custom gradient.
        operation = "recompute_grad"
        places = _places(losses, lambda one: has_own_gradient(one.node_def))
    return UsageError(f"The operation {operation}{places} {_WAY_OUT}")


def _places(losses: tf.Tensor, is_one: Callable[[tf.Operation], bool]) -> str:
    """Returns " (of PATH, ...)", the layers of the selected operations, read from their names."""
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
    """Returns whether a graph node is the output of a `tf.custom_gradient`."""
    return node.op == "IdentityN" and "_gradient_op_type" in node.attr


def sparse_label_error(error: tf.errors.InvalidArgumentError) -> UsageError | None:
    """Returns a `UsageError` if TensorFlow refused a sparse label, and None for other errors."""
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
    """Returns a `UsageError` if a py_function has no second derivative, None for other errors."""
    node = re.search(r"gradient_tape/(\S+)/EagerPyFunc\w*", str(error))
    if node is None or "KeyError" not in str(error):
        return None
    return UsageError(f"The operation py_function (of {node[1]}) {_WAY_OUT}")
