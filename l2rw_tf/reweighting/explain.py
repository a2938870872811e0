"""TensorFlow's errors, as sentences for the person who trains."""

from __future__ import annotations

import re

import tensorflow as tf

from l2rw_tf.errors import UsageError


def no_second_derivative(error: LookupError, losses: tf.Tensor) -> UsageError:
    """Turns the lack of a gradient of a gradient into a sentence that names operation and layer."""
    missing = re.search(r"\b(\w+?)(Grad)+\b", str(error))
    operation = missing[1] if missing else "one"
    return UsageError(
        f"The operation {operation}{_places_of(operation, losses)} has no second derivative: "
        "build the layer without it (LSTM and GRU on a GPU: use_cudnn=False), or choose "
        "meta_gradient='finite_difference', which needs none."
    )


def _places_of(operation: str, losses: tf.Tensor) -> str:
    """Says in which layers an operation stands, which a graph knows by the paths in its names."""
    if tf.executing_eagerly():
        return ""
    paths = {
        one.name.rpartition("/")[0]
        for one in losses.graph.get_operations()
        if one.type == operation
    }
    return f" (of {', '.join(sorted(paths))})" if paths else ""


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
