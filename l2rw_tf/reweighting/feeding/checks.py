"""Checks of training data and clean data before training begins."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.keras_internals import can_convert_arrays

NEGATIVE_WEIGHTS = (
    "example weights w̃_i = s_i max(u_i, 0) cannot reverse an example's gradient. Give finite "
    "weights of at least 0."
)

# Returns whether the losses of a batch (x, y) are finite.
Takes = Callable[[tuple[Any, Any]], bool]

# Checking decodes the batches. A fault in a later one ends the training at the step that reads it.
_READ_AHEAD = 20


def is_arrays(x: Any) -> bool:
    """Returns whether `x` is arrays or a structure of arrays, not a source of batches."""
    return not isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)) and (
        can_convert_arrays((x,))
    )


def clean_arrays(clean_data: Any) -> tuple[Any, ...] | None:
    """Returns `(x, y[, sample_weight])` if the clean data is arrays, and None otherwise."""
    is_tuple = isinstance(clean_data, (tuple, list)) and len(clean_data) in (2, 3)
    return tuple(clean_data) if is_tuple and can_convert_arrays(tuple(clean_data)) else None


def length(array: Any) -> int:
    """Returns the number of examples of an array, dense or sparse."""
    return int(array.shape[0]) if hasattr(array, "shape") else len(array)


def tracked_examples(track_examples: bool | int, x: Any) -> int | None:
    """Returns the number of training examples to record, or None if they are not tracked.

    Args:
        track_examples: The argument of `fit`: True for arrays, or the number of examples.
        x: The training data.

    Raises:
        UsageError: If the number is missing or invalid.
    """
    if track_examples is False:
        return None
    if track_examples is True:
        if is_arrays(x):
            return length(keras.tree.flatten(x)[0])
        raise UsageError(
            "track_examples must be the number of training examples if the training data is a "
            "data set, got True."
        )
    if not isinstance(track_examples, (int, np.integer)):
        raise UsageError(
            "track_examples must be True, or for data sets the number of training examples, "
            f"got {track_examples!r}."
        )
    if track_examples < 1:
        raise UsageError(f"track_examples must be at least 1, got {track_examples}.")
    return int(track_examples)


def fingerprint(x: Any, y: Any) -> str:
    """Returns a hash that identifies the examples of arrays; empty for data sets.

    It covers all labels but only the shapes of the inputs, which the next `fit` may augment.
    """
    if not is_arrays(x):
        return ""
    shapes = [str(getattr(leaf, "shape", "")) for leaf in keras.tree.flatten(x)]
    digest = hashlib.sha256("|".join(shapes).encode())
    for leaf in keras.tree.flatten(y):
        digest.update(np.asarray(as_numpy(leaf)).tobytes())
    return digest.hexdigest()


def check_sizes(**sizes: int | None) -> None:
    """Refuses batch sizes that are not whole numbers of at least 1."""
    for name, size in sizes.items():
        if size is not None and (not isinstance(size, (int, np.integer)) or size < 1):
            raise UsageError(f"{name} must be a whole number of at least 1, got {size!r}.")


def check_clean_kind(clean_data: Any, batch_kinds: tuple[type, ...]) -> None:
    """Refuses clean data that is missing or of an unsupported type."""
    if clean_data is None:
        raise UsageError(
            "Reweighting needs clean data: give fit(..., clean_data=(x_clean, y_clean)), a handful "
            "of examples whose labels you trust, or a tf.data.Dataset or PyDataset of them."
        )
    if clean_arrays(clean_data) is None and not isinstance(clean_data, batch_kinds):
        raise UsageError(
            "clean_data must be (x, y) or (x, y, sample_weight) of arrays, a tf.data.Dataset or a "
            f"keras.utils.PyDataset, got {describe(clean_data)}."
        )


def numbers(structure: Any) -> Any:
    """Converts arrays of objects that are numbers to numeric arrays; leaves others unchanged.

    A data frame with columns of several types gives an array of objects, which Keras refuses.
    """

    def of_leaf(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.dtype.kind != "O":
            return leaf
        try:
            found = np.array(leaf.tolist())
        except ValueError:
            return leaf
        return found if found.dtype.kind in "biuf" and found.shape == leaf.shape else leaf

    return keras.tree.map_structure(of_leaf, structure)


def check_arrays(
    prefix: str,
    x: Any,
    y: Any,
    sample_weight: Any,
    takes_text: bool,
    takes: Takes,
    batch_size: int | None = None,
) -> int:
    """Refuses arrays without labels or examples, of different lengths, or with invalid values.

    Args:
        prefix: Prefix of the array names in messages: "" or "clean_data's ".
        x: Inputs.
        y: Labels.
        sample_weight: Weights or None.
        takes_text: Whether the network may have a text input.
        takes: Returns whether the losses of a batch `(x, y)` with NaN or infinity are finite.
        batch_size: Batch size; None if the arrays are one batch.

    Returns:
        The number of examples.

    Raises:
        UsageError: If the arrays are refused; names the argument, the value and its position.
    """
    what = "clean_data" if prefix else "the training data"
    if y is None:
        raise UsageError(f"{what} has no labels: give (x, y).")
    leaves = [leaf for leaf in keras.tree.flatten((x, y, sample_weight)) if leaf is not None]
    sizes = sorted({length(leaf) for leaf in leaves})
    if len(sizes) > 1:
        raise UsageError(f"The arrays of {what} differ in their number of examples: {sizes}.")
    if sizes == [0]:
        hint = "give at least one that you trust" if prefix else "give some"
        raise UsageError(f"{what} holds no examples: {hint}.")
    _check_weights(f"{prefix}sample_weight", sample_weight)
    try:
        _check_values(f"{prefix}x", x, takes_text)
        _check_values(f"{prefix}y", y, False)
    except _NotFinite as complaint:
        arrays = keras.tree.map_structure(as_numpy, (x, y))
        bad = [~_finite_rows(leaf) for leaf in keras.tree.flatten(arrays)]
        # A full batch, as the network may accept no other size.
        rows = np.resize(np.flatnonzero(np.any(bad, axis=0)), min(batch_size or sizes[0], sizes[0]))
        batch = keras.tree.map_structure(lambda leaf: leaf[rows], arrays)
        if not takes(batch):
            raise UsageError(str(complaint)) from None
    return sizes[0]


def check_clean_stream(batches: tf.data.Dataset, takes_text: bool, takes: Takes) -> Any:
    """Reads the first batches of a clean stream and refuses NaN, infinity and negative weights.

    Args:
        batches: The clean batches.
        takes_text: Whether the network may have a text input.
        takes: See `check_arrays`.

    Returns:
        The labels of all batches read, concatenated, in the structure of one batch's labels.

    Raises:
        UsageError: If there is no batch, or a value is NaN or infinite.
    """
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batches.element_spec)
    if any(isinstance(one, tf.TensorSpec) and one.shape.rank == 0 for one in keras.tree.flatten(y)):
        raise UsageError("clean_data must give batches: call .batch(...) on the data set.")
    endless = int(batches.cardinality()) == tf.data.INFINITE_CARDINALITY
    labels = []
    for number, batch in enumerate(batches.take(1 if endless else _READ_AHEAD)):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        _check_weights(f"The sample_weight of batch {number} of clean_data", sample_weight)
        try:
            _check_values(f"Batch {number} of clean_data", (x, y), takes_text)
        except _NotFinite as complaint:
            if not takes(batch):
                raise UsageError(str(complaint)) from None
        if y is not None:
            labels.append(keras.tree.map_structure(as_numpy, y))
    if not labels and not any(True for _ in batches.take(1)):
        raise UsageError("clean_data is a data set without batches: it needs at least one.")
    if not labels:
        return None
    shapes = {str(keras.tree.map_structure(lambda part: part.shape[1:], one)) for one in labels}
    if len(shapes) > 1:
        # Padded sequences differ in length from batch to batch.
        labels = [keras.tree.map_structure(np.ravel, one) for one in labels]
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *labels)


def check_same_kind(training: Any, clean: Any, takes_text: bool) -> None:
    """Refuses clean batches whose structure or shapes differ from those of training batches.

    Args:
        training: `(x, y[, sample_weight])` of tensors or their specifications.
        clean: The same for the clean data.
        takes_text: Whether the network may have a text input.

    Raises:
        UsageError: If they differ, or contain text that the network does not take.
    """
    training_parts = keras.utils.unpack_x_y_sample_weight(training)
    clean_parts = keras.utils.unpack_x_y_sample_weight(clean)
    for name, one, other in zip(("x", "y"), training_parts, clean_parts, strict=False):
        if one is None or other is None:
            side = "training data" if one is None else "clean_data"
            raise UsageError(
                f"The {side} has no {name}: it must be (x, y) or (x, y, sample_weight)."
            )
        # Lists and tuples count as the same, as they do in Keras.
        one, other = keras.tree.lists_to_tuples(one), keras.tree.lists_to_tuples(other)
        try:
            keras.tree.assert_same_structure(one, other)
        except ValueError:
            raise UsageError(
                f"clean_data and training data differ in the structure of {name}: "
                f"{describe(other)} against {describe(one)}."
            ) from None
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            if not hasattr(a, "shape") and not hasattr(b, "shape"):
                continue  # Both are None, such as the labels of an output without a loss.
            _check_same_shape(name, a, b)
            if tf.string in (a.dtype, b.dtype) and not (takes_text and name == "x"):
                raise UsageError(
                    f"The {name} of clean_data or training data is text, which Keras cannot cast "
                    "to numbers: turn it into numbers first."
                )


def in_order_of(structure: Any, value: Any) -> Any:
    """Returns `value` with the keys of its dicts in the order of the dicts of `structure`.

    Keras flattens an OrderedDict in its own order and a dict in sorted order, so columns could be
    swapped if one side is an OrderedDict and the other a dict.

    Args:
        structure: A batch of training data.
        value: A batch of clean data.
    """
    if isinstance(structure, dict) and isinstance(value, dict):
        if structure.keys() != value.keys():
            return value
        parts = [(key, in_order_of(structure[key], value[key])) for key in structure]
        return OrderedDict(parts) if isinstance(structure, OrderedDict) else dict(parts)
    if type(structure) is tuple and type(value) is tuple:
        both = zip(structure, value, strict=False)
        return (*(in_order_of(*one) for one in both), *value[len(structure) :])
    return value


def describe(value: Any) -> str:
    """Returns a short description of the type of `value`, for messages."""
    if isinstance(value, dict):
        return f"a dict with the keys {sorted(value)}"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} parts"
    if isinstance(value, (tf.TensorSpec, tf.Tensor)):
        return "one array"
    return f"an object of type {type(value).__name__}"


def as_numpy(value: Any) -> Any:
    """Converts tensors and data frames to NumPy arrays; returns other values unchanged."""
    if isinstance(value, tf.Tensor):
        return value.numpy()
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _check_same_shape(name: str, a: Any, b: Any) -> None:
    if name == "y" and a.shape.rank == 0:
        raise UsageError(
            "The training data must come in batches: call .batch(...) on the data set."
        )
    one, other = a.shape[1:], b.shape[1:]
    # Keras treats labels of shapes (N,) and (N, 1) alike.
    if name == "y" and {one.rank, other.rank} == {0, 1}:
        one, other = (tf.TensorShape([1]) if s.rank == 0 else s for s in (one, other))
    if not one.is_compatible_with(other):
        raise UsageError(
            f"clean_data and training data differ in the shape of an example's {name}: "
            f"{tuple(b.shape[1:])} against {tuple(a.shape[1:])}."
        )


def _check_weights(name: str, structure: Any) -> None:
    """Refuses weights that are not finite numbers of at least 0."""
    try:
        _check_values(name, structure, False)
    except _NotFinite as complaint:
        count = str(complaint).partition(", and the loss")[0]
        raise UsageError(f"{count}: give finite weights of at least 0.") from None
    for leaf in keras.tree.flatten(structure):
        values = as_numpy(leaf)
        if isinstance(values, np.ndarray) and values.dtype.kind in "if" and (values < 0).any():
            raise UsageError(
                f"{name} holds {int((values < 0).sum())} negative weights, the first in example "
                f"{int(np.argwhere(values < 0)[0][0])}: {NEGATIVE_WEIGHTS}"
            )


def _check_values(name: str, structure: Any, takes_text: bool) -> None:
    """Refuses values that Keras cannot cast to numbers, NaN and infinity."""
    for leaf in keras.tree.flatten(structure):
        values = as_numpy(leaf)
        if not isinstance(values, np.ndarray):
            continue
        if values.dtype.kind == "O" and not takes_text:
            values = _from_objects(name, values)
        if values.dtype.kind in "mM":
            raise UsageError(
                f"{name} holds dates or times ({values.dtype}), which Keras cannot cast to "
                "numbers: turn it into an array of numbers first."
            )
        if values.dtype.kind in "US" and not takes_text:
            raise UsageError(
                f"{name} holds text ({values.dtype}), which Keras cannot cast to numbers: turn it "
                "into an array of numbers first."
            )
        if values.dtype.kind not in "fc":
            continue
        finite = np.isfinite(values)
        if not finite.all():
            example = int(np.argwhere(~finite)[0][0]) if values.ndim else 0
            raise _NotFinite(
                f"{name} holds {int((~finite).sum())} values that are NaN or infinite, the first "
                f"in example {example}, and the loss of such an example is not finite either: "
                "remove or replace them, or use a layer or a loss that ignores them."
            )


def _finite_rows(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fc":
        return np.ones(len(values), bool)
    return np.isfinite(values).reshape(len(values), -1).all(axis=1)


class _NotFinite(UsageError):
    """NaN or infinite values, which may be valid if the network or the loss handles them."""


def _from_objects(name: str, values: np.ndarray) -> np.ndarray:
    try:
        return values.astype(float)
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} holds objects that Keras cannot cast to numbers: turn it into an array of "
            "numbers first."
        ) from None
