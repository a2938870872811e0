"""metrics.csv and examples.csv: their columns, and the only writer and reader of each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l2rw_tf.data.origins import cell, text_of
from l2rw_tf.runs.run_directory import RunDirectory, damaged

# One row per epoch. The losses of held-out and test data are the cross-entropy alone. The training
# loss is the minimized one: reweighted if the method reweights, and including weight decay.
METRICS = {
    "method": str,
    "epoch": int,
    "phase": str,
    "step": int,
    "learning_rate": float,
    "loss": float,
    "accuracy": float,
    "clean_loss": float,
    "clean_accuracy": float,
    "effective_batch_size": float,
    "zero_weight_share": float,
    "val_loss": float,
    "val_accuracy": float,
    "test_loss": float,
    "test_accuracy": float,
    "trusted_accuracy": float,
    "seconds": float,
}

# The columns of `ReweightingModel.example_record`, from methods that weight examples.
RECORD = {
    "times_seen": np.int64,
    "mean_weight": np.float32,
    "mean_u": np.float32,
    "mean_loss": np.float32,
    "positive_share": np.float32,
    "last_weight": np.float32,
    "last_u": np.float32,
    "smoothed_u": np.float32,
}
# One row per training example, the most suspicious label first.
EXAMPLES = {
    "id": np.int64,
    "origin": np.str_,
    "given_label": np.int64,
    "true_label": np.int64,
    **RECORD,
    "suggested_label": np.int64,
    "given_probability": np.float32,
    "suggested_probability": np.float32,
    "label_quality": np.float64,
    "content_hash": np.str_,
}
# One row per clean example, the doubtful ones first.
CLEAN_EXAMPLES = {
    **{
        name: EXAMPLES[name]
        for name in (
            *("id", "origin", "given_label", "true_label", "suggested_label"),
            *("given_probability", "suggested_probability"),
        )
    },
    "doubtful": np.int64,
}
# Columns that every run writes.
_EXAMPLES_OF_ALL = ("id", "given_label", "suggested_label", "given_probability")


def write_metrics(directory: RunDirectory, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes metrics.csv; columns that a row lacks are left empty."""
    cells = ([row.get(name) for name in METRICS] for row in rows)
    directory.write_table("metrics.csv", list(METRICS), cells)


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Reads metrics.csv.

    Args:
        directory: The run's directory.

    Returns:
        One row per epoch, with those columns of `METRICS` that are not empty.

    Raises:
        UsageError: If the file is damaged; the message names the line.
    """
    columns = _read(directory / "metrics.csv", METRICS, ("method", "epoch", "test_accuracy"))
    rows = zip(*columns.values(), strict=True)
    return [
        {name: cell for name, cell in zip(columns, row, strict=True) if cell is not None}
        for row in rows
    ]


def write_examples(directory: RunDirectory, table: Mapping[str, np.ndarray]) -> None:
    """Writes examples.csv.

    Args:
        directory: The run's directory.
        table: Some of the columns of `EXAMPLES`, each (n,); NaN is written as an empty cell.
    """
    _write(directory, "examples.csv", table, EXAMPLES)


def write_clean_examples(directory: RunDirectory, table: Mapping[str, np.ndarray]) -> None:
    """Writes clean_examples.csv, doubtful labels first.

    Args:
        directory: The run's directory.
        table: Some of the columns of `CLEAN_EXAMPLES`, each (n,).
    """
    order = np.lexsort((table["given_probability"], ~table["doubtful"]))
    table = {name: column[order] for name, column in table.items()}
    _write(directory, "clean_examples.csv", table, CLEAN_EXAMPLES)


def _write(
    directory: RunDirectory, file: str, table: Mapping[str, np.ndarray], kinds: Mapping[str, Any]
) -> None:
    columns = sorted(table, key=list(kinds).index)
    cells = [_cells(np.asarray(table[name], kinds[name])) for name in columns]
    directory.write_table(file, columns, zip(*cells, strict=True))


def _cells(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "U":
        return np.array([cell(text) for text in values.tolist()], object)
    if values.dtype.kind != "f":
        return values
    # NumPy writes the fewest digits that identify a float32.
    cells = values.astype(str)
    cells[cells == "nan"] = ""
    return cells


def read_examples(directory: Path, num_classes: int) -> dict[str, np.ndarray]:
    """Reads examples.csv.

    Args:
        directory: The run's directory.
        num_classes: Number of classes.

    Returns:
        The columns of `EXAMPLES` that the file has, each (n,); empty cells are NaN.

    Raises:
        UsageError: If the file is damaged (the message names the line) or was written by another
            version.
    """
    return _read_examples(directory / "examples.csv", EXAMPLES, _EXAMPLES_OF_ALL, num_classes)


def read_clean_examples(directory: Path, num_classes: int) -> dict[str, np.ndarray]:
    """Reads clean_examples.csv; see `read_examples`."""
    path, needed = directory / "clean_examples.csv", (*_EXAMPLES_OF_ALL, "doubtful")
    return _read_examples(path, CLEAN_EXAMPLES, needed, num_classes)


def _read_examples(
    path: Path, kinds: Mapping[str, Any], needed: Sequence[str], num_classes: int
) -> dict[str, np.ndarray]:
    columns = _read(path, kinds, needed)
    if "origin" in columns:
        columns["origin"] = [text_of(one) for one in columns["origin"]]
    table = {name: np.array(values, kinds[name]) for name, values in columns.items()}
    for name in ("given_label", "suggested_label", "true_label"):
        labels = table.get(name, np.array([], np.int64))
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise damaged(path, f"column {name} holds labels outside of the {num_classes} classes")
    return table


def _read(
    path: Path, kinds: Mapping[str, Callable[[str], Any]], needed: Sequence[str]
) -> dict[str, list[Any]]:
    """Returns the known columns of a CSV file, with None for empty cells of optional columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not a table"
        raise damaged(path, f"{reason[0].lower()}{reason[1:]}") from error
    for name in needed:
        if name not in header:
            raise damaged(path, f"it has no column {name}")
    columns: dict[str, list[Any]] = {name: [] for name in header if name in kinds}
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise damaged(path, f"line {line} has {len(row)} of {len(header)} cells")
        for name, value in zip(header, row, strict=True):
            if name not in kinds:
                continue
            optional = kinds[name] not in (str, np.str_, int, np.int64)
            try:
                columns[name].append(None if optional and not value else kinds[name](value))
            except (ValueError, OverflowError) as error:
                raise damaged(path, f"line {line} has {value!r} in column {name}") from error
    return columns
