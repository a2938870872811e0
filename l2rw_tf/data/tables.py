"""CSV and NumPy .npz files of numbers with labels."""

from __future__ import annotations

import csv
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from l2rw_tf.data import labels
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.errors import UsageError

_LARGEST = float(np.finfo(np.float32).max)


def can_read(dataset: str) -> bool:
    """Whether a name is that of a file of this kind, whether there is one or not."""
    return dataset.lower().endswith((".csv", ".npz"))


def read(dataset: str, *, label_column: str, **others: object) -> Source:
    """Reads a file; see `load_csv` and `load_npz`."""
    load = load_csv if dataset.lower().endswith(".csv") else load_npz
    return load(dataset, label_column)


def load_csv(path: str, label_column: str = "label") -> Source:
    """Reads a CSV file: a line of column names, then a row for each example.

    Args:
        path: The file, UTF-8, cells separated by commas, semicolons or tabs. Every column but that
            of the labels holds finite numbers.
        label_column: The column of the labels: whole numbers or names of classes.

    Returns:
        The data set, without a test part.

    Raises:
        UsageError: Names the file, and where one is to blame the line and the column.
    """
    try:
        with open(os.path.expanduser(path), newline="", encoding="utf-8-sig") as lines:
            feature_names, x, values = _read_rows(path, lines, label_column)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8: {error.reason}; save it as CSV.") from error
    y, class_names = labels.encode(np.asarray(values), f"{path}: the column {label_column!r}")
    return Source(
        name=str(path),
        train=examples_from(x, y),
        test=None,
        class_names=class_names,
        kind="table",
        feature_names=feature_names,
    )


def _read_rows(
    path: str, lines: Iterator[str], label_column: str
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Returns the features' names, they (n, features) float32, and the labels as in the file."""
    first = lines.readline()
    if not first.strip():
        raise UsageError(f"{path} is empty; a line of column names and rows of numbers are needed.")
    delimiter = max(",;\t", key=first.count)
    lines.seek(0)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = [name.strip() for name in next(rows)]
    label_at = _label_position(path, columns, label_column)
    features = [at for at in range(len(columns)) if at != label_at]
    x, values = [], []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            place = f"{path}, line {rows.line_num}"
            if len(row) != len(columns):
                raise UsageError(
                    f"{place}: {len(row)} cells, but the first line names {len(columns)} columns."
                )
            label = row[label_at].strip()
            if not label:
                raise UsageError(f"{place}: the label (column {label_column!r}) is missing.")
            x.append([_number(row[at], place, columns[at]) for at in features])
            values.append(label)
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: {error}.") from error
    if not x:
        raise UsageError(f"{path} has a line of column names, but no rows.")
    return tuple(columns[at] for at in features), np.asarray(x, np.float32), values


def _label_position(path: str, columns: Sequence[str], label_column: str) -> int:
    found = columns.count(label_column)
    if found != 1:
        trouble = "there is no column" if not found else f"{found} columns have the name"
        raise UsageError(
            f"{path}, line 1: {trouble} {label_column!r}; label_column must name one of "
            f"{', '.join(columns[:20])}{', ...' if len(columns) > 20 else ''}."
        )
    if len(columns) == 1:
        raise UsageError(f"{path} has no column but that of the labels.")
    return columns.index(label_column)


def _number(cell: str, place: str, column: str) -> float:
    """Returns the number in a cell; float32 must hold it."""
    text = cell.strip()
    try:
        # Python reads 1_000 as a number; nobody who writes a table means that.
        number = float("" if "_" in text else text)
    except ValueError:
        came = f"got {text[:50]!r}" if text else "the cell is empty"
        raise UsageError(f"{place}: column {column!r} must hold a number, {came}.") from None
    if not abs(number) <= _LARGEST:
        finite = "a finite number" if not math.isfinite(number) else "a number that fits float32"
        raise UsageError(f"{place}: column {column!r} must hold {finite}, got {text[:50]!r}.")
    return number


def load_npz(path: str, label_column: str = "label") -> Source:
    """Reads a NumPy .npz file.

    Args:
        path: The file. It holds `x` and the labels, or, as Keras's data sets do, `x_train` and
            `y_train` with or without `x_test` and `y_test`. `x` is (n, features) of any numeric
            type, or uint8 images (n, height, width[, 1 or 3]).
        label_column: The array of the labels that belong to `x`; `y` is taken where it is missing.

    Returns:
        The data set, with a test part where the file has one.

    Raises:
        UsageError: Names the file and the array.
    """
    arrays = _read_arrays(path)
    label_name = label_column if label_column in arrays else "y"
    for x_name, y_name in (("x", label_name), ("x_train", "y_train")):
        if x_name in arrays and y_name in arrays:
            break
    else:
        raise UsageError(
            f"{path} must hold the arrays x and {label_column!r} (label_column), or x_train and "
            f"y_train; it holds {', '.join(arrays) or 'nothing'}."
        )
    names = {"train": (x_name, y_name)}
    if "x_test" in arrays and "y_test" in arrays:
        names["test"] = ("x_test", "y_test")
    inputs = {part: _inputs(path, x_name, arrays[x_name]) for part, (x_name, _) in names.items()}
    values = {
        part: _label_values(path, y_name, arrays[y_name], len(inputs[part]))
        for part, (_, y_name) in names.items()
    }
    if inputs["train"].shape[1:] != inputs.get("test", inputs["train"]).shape[1:]:
        raise UsageError(
            f"{path}: one input is {inputs['train'].shape[1:]} in {x_name} and "
            f"{inputs['test'].shape[1:]} in x_test; they must be alike."
        )
    y, class_names = labels.encode(
        np.concatenate(list(values.values())), f"{path}: the array {y_name!r}"
    )
    ends = np.cumsum([len(part) for part in inputs.values()])
    parts = {
        part: examples_from(inputs[part], y[end - len(inputs[part]) : end])
        for part, end in zip(inputs, ends, strict=True)
    }
    _check_test_classes(path, parts, class_names)
    image = inputs["train"].ndim == 4
    return Source(
        name=str(path),
        train=parts["train"],
        test=parts.get("test"),
        class_names=class_names,
        kind="image" if image else "table",
        feature_names=() if image else tuple(map(str, range(inputs["train"].shape[1]))),
    )


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            if not zipfile.is_zipfile(file):
                raise UsageError(f"{path} is not a .npz file (or is cut short).")
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
    fits = np.abs(x.astype(np.float64)) <= _LARGEST
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise UsageError(
            f"{path}: the array {name!r} must hold finite numbers that fit float32, got "
            f"{x[row, column]} in row {row}, column {column} (counted from 0)."
        )
    return x.astype(np.float32)


def _label_values(path: str, name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """Returns checked labels: whole numbers or strings, one a row."""
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
        return values.astype(np.str_)
    if values.dtype.kind not in "biuU":
        raise UsageError(
            f"{path}: the array {name!r} must hold whole numbers or names of classes, its dtype is "
            f"{values.dtype}."
        )
    return values


def _check_test_classes(path: str, parts: dict[str, Examples], class_names: Sequence[str]) -> None:
    if "test" not in parts:
        return
    unknown = np.setdiff1d(parts["test"].y, parts["train"].y)
    if len(unknown):
        raise UsageError(
            f"{path}: class {class_names[unknown[0]]!r} is in y_test, but not in y_train."
        )
