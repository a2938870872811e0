"""NumPy .npz files of numbers or images with labels."""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np

from l2rw_tf.data import labels
from l2rw_tf.data.examples import Source
from l2rw_tf.data.rows import LARGEST, Rows, source_of
from l2rw_tf.errors import UsageError


def load_npz(path: str, label_column: str = "", true_label_column: str = "") -> Source:
    """Reads a NumPy .npz file.

    Args:
        path: The file. It holds `x` and the labels, or, as Keras's data sets do, `x_train` and
            `y_train` with or without `x_test` and `y_test`. `x` is (n, features) of any numeric
            type, or uint8 images (n, height, width[, 1 or 3]).
        label_column: The array of the training labels; by default `label` or `y` beside `x`, and
            `y_train` beside `x_train`.
        true_label_column: The array of the true training labels, if there is one; `y_test` then
            holds true labels.

    Returns:
        The data set, with a test part if the file has one.

    Raises:
        UsageError: If the file is invalid; names the file and the array.
    """
    return source_of(path, npz_rows(path, label_column, true_label_column))


def npz_rows(path: str, label_column: str, true_label_column: str) -> dict[str, Rows]:
    """Reads the parts of a .npz file, without numbering its classes; see `load_npz`."""
    arrays = _read_arrays(path)
    x_name, y_name = _names_of_training(path, arrays, label_column)
    if true_label_column and true_label_column not in arrays:
        raise UsageError(
            f"{path} has no array {true_label_column!r} (true_label_column); it holds "
            f"{', '.join(arrays)}."
        )
    if true_label_column == y_name:
        raise UsageError(f"label_column and true_label_column both name the array {y_name!r}.")
    names = {"train": (x_name, y_name)}
    if "x_test" in arrays and "y_test" in arrays:
        names["test"] = ("x_test", "y_test")
    parts = {}
    for part, (inputs, given) in names.items():
        x = _inputs(path, inputs, arrays[inputs])
        true = true_label_column if part == "train" else ""
        parts[part] = Rows(
            x=x,
            labels=_label_values(path, given, arrays[given], len(x)),
            true_labels=_label_values(path, true, arrays[true], len(x)) if true else None,
            where=f"{path}: the array {given!r}",
        )
    shapes = [rows.x.shape[1:] for rows in parts.values()]
    if shapes[0] != shapes[-1]:
        raise UsageError(
            f"{path}: the shape of an input is {shapes[0]} in {x_name} but {shapes[-1]} in x_test; "
            "they must be equal."
        )
    return parts


def _names_of_training(
    path: str, arrays: dict[str, np.ndarray], label_column: str
) -> tuple[str, str]:
    """Returns the names of the arrays that hold the training inputs and their labels."""
    for x_name, usual in (("x", ("label", "y")), ("x_train", ("y_train",))):
        # "label" also stands for the usual array, as in runs of earlier versions.
        for y_name in usual if label_column in ("", "label") else (label_column,):
            if x_name in arrays and y_name in arrays:
                return x_name, y_name
    raise UsageError(
        f"{path} must hold the arrays x and {label_column or 'y'!r} (label_column), or x_train and "
        f"{label_column or 'y_train'!r}; it holds {', '.join(arrays) or 'nothing'}."
    )


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    """Returns all arrays of the file."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            if not zipfile.is_zipfile(file):
                raise UsageError(f"{path} is not a .npz file (or is truncated).")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error):
            raise UsageError(
                f"{path} holds Python objects; save arrays of numbers, and labels as whole numbers "
                "or strings (dtype str)."
            ) from error
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is damaged: {error}.") from error


def _inputs(path: str, name: str, x: np.ndarray) -> np.ndarray:
    """Returns checked inputs: float32 rows or uint8 images."""
    if x.ndim == 3 and x.dtype == np.uint8:
        x = x[..., None]
    image = x.ndim == 4 and x.dtype == np.uint8 and x.shape[-1] in (1, 3)
    if not image and (x.ndim != 2 or x.dtype.kind not in "biuf"):
        raise UsageError(
            f"{path}: the array {name!r} must be numbers (n, features) or uint8 images "
            f"(n, height, width[, 1 or 3]), got {x.dtype} {x.shape}."
        )
    if not x.size:
        raise UsageError(f"{path}: the array {name!r} is empty, its shape is {x.shape}.")
    if image:
        return x
    fits = np.abs(x.astype(np.float64)) <= LARGEST
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise UsageError(
            f"{path}: the array {name!r} must hold finite numbers that fit float32, got "
            f"{x[row, column]} in row {row}, column {column} (counted from 0)."
        )
    return x.astype(np.float32)


def _label_values(path: str, name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """Returns checked labels: whole numbers or strings, one per row."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (rows,):
        raise UsageError(
            f"{path}: the array {name!r} must hold one label for each of the {rows} rows, its "
            f"shape is {values.shape}."
        )
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            row = int(np.argmin(whole))
            raise UsageError(
                f"{path}: the array {name!r} must hold whole numbers or names of classes, got "
                f"{values[row]} in row {row} (counted from 0)."
            )
        return values.astype(np.int64)
    if values.dtype.kind == "S":
        values = values.astype(np.str_)
    if values.dtype.kind == "U":
        missing = [row for row, label in enumerate(values.tolist()) if labels.is_missing(label)]
        if missing:
            raise UsageError(
                f"{path}: the array {name!r} must hold a label for each row, got "
                f"{str(values[missing[0]])!r} in row {missing[0]} (counted from 0)."
            )
    if values.dtype.kind not in "biuU":
        raise UsageError(
            f"{path}: the array {name!r} must hold whole numbers or names of classes, its dtype is "
            f"{values.dtype}."
        )
    return values
