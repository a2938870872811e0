"""CSV files of numbers with labels."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from l2rw_tf.data import labels
from l2rw_tf.data.cells import Cells
from l2rw_tf.data.examples import Source
from l2rw_tf.data.rows import Rows, source_of
from l2rw_tf.errors import UsageError

_SAVE_AS = "save it as CSV in UTF-8"


def load_csv(
    path: str,
    label_column: str = "",
    true_label_column: str = "",
    ignore_columns: Sequence[str] = (),
) -> Source:
    """Reads a CSV file: a line of column names, then one row per example.

    Args:
        path: The file, UTF-8 or UTF-16, cells separated by commas, semicolons or tabs. All columns
            but those of the labels hold finite numbers; empty cells and the usual marks of a
            missing value become NaN. A first column without a name that numbers the rows is an
            index and is ignored.
        label_column: The column of the labels, whole numbers or names of classes; by default
            `label`.
        true_label_column: The column of the true labels, if there is one.
        ignore_columns: Columns to ignore.

    Returns:
        The data set, without a test part.

    Raises:
        UsageError: If the file is invalid; names the file and, if known, the line and column.
    """
    rows = csv_rows(path, label_column, true_label_column, ignore_columns)
    notes = (*rows.notes, *_notes_on_constants(path, rows.x, rows.feature_names))
    return source_of(path, {"train": dataclasses.replace(rows, notes=notes)})


def csv_rows(
    path: str,
    label_column: str = "",
    true_label_column: str = "",
    ignore_columns: Sequence[str] = (),
) -> Rows:
    """Reads a CSV file, without numbering its classes; see `load_csv`."""
    rows = numbered_rows(path)
    _, header = next(rows)
    columns = _columns(path, header, label_column, true_label_column, ignore_columns)
    x, labels_of, cells = [], {at: [] for at in columns.labels}, Cells(path)
    index, origins, missing, name = [], [], [], pathlib.PurePath(path).name
    for line, row in rows:
        for at in columns.labels:
            label = row[at].strip()
            if labels.is_missing(label):
                said = f": the cell holds {label!r}" if label else ""
                missing.append(f"line {line}: the label (column {header[at]!r}) is missing{said}")
            labels_of[at].append(label)
        x.append([cells.number(row[at], line, header[at]) for at in columns.features])
        if columns.index is not None:
            index.append(row[columns.index].strip())
        origins.append(f"./{name}:{line}")
    if missing:
        more = f", and {len(missing) - 1:,} more such labels" if missing[1:] else ""
        raise UsageError(f"{path}, {missing[0]}{more}; fill them in, or delete the rows.")
    if cells.wrong:
        out = ",".join([*ignore_columns, *cells.words])
        raise cells.error(
            "Write numbers there (for a category, one column of 0 and 1 per value), or ignore "
            f"columns: --ignore_columns={out}"
            if cells.words
            else "Write numbers there."
        )
    x, names = np.asarray(x, np.float32), tuple(header[at] for at in columns.features)
    given, *true = (np.asarray(values) for values in labels_of.values())
    return Rows(
        x=x,
        labels=given,
        true_labels=true[0] if true else None,
        where=f"{path}: the column {header[columns.labels[0]]!r}",
        feature_names=names,
        origins=origins,
        notes=(*_notes_on_index(path, index), *cells.notes, *_notes_on_counting(path, x, names)),
    )


def numbered_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the column names of a CSV file, then its rows; skips blank rows.

    Args:
        path: The file.

    Yields:
        The line in which a row begins, counted from 1, and its cells.

    Raises:
        UsageError: If the file cannot be read, or a row has more or fewer cells than the first.
    """
    line, found = 1, 0
    try:
        with open(os.path.expanduser(path), newline="", encoding=_encoding(path)) as lines:
            first = lines.readline()
            if "\0" in first:
                raise UsageError(f"{path} is not text in UTF-8, nor marked as UTF-16; {_SAVE_AS}.")
            if not first.strip():
                raise UsageError(
                    f"{path} is empty; a line of column names and rows of numbers are needed."
                )
            outside_quotes = re.sub(r'"[^"]*("|$)', "", first)
            delimiter = max(",;\t", key=outside_quotes.count)
            lines.seek(0)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader)]
            yield line, header
            line = reader.line_num + 1
            for row in reader:
                if any(cell.strip() for cell in row):
                    if len(row) != len(header):
                        raise UsageError(
                            f"{path}, line {line}: {len(row)} cells, but the first line names "
                            f"{len(header)} columns."
                        )
                    found += 1
                    yield line, row
                line = reader.line_num + 1
    except csv.Error as error:
        place = f"{path}, line {line}"
        raise UsageError(f"{place}: {error}; check the quotation marks there.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not text in UTF-8: it holds the byte 0x{error.object[error.start]:02x}, as "
            f"Latin-1 and Windows-1252 do; {_SAVE_AS}."
        ) from error
    if not found:
        raise UsageError(f"{path} has a line of column names, but no rows.")


def _encoding(path: str) -> str:
    """Returns UTF-16 if the file has its BOM, as spreadsheets' "Unicode text", else UTF-8."""
    with open(os.path.expanduser(path), "rb") as file:
        return (
            "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        )


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Positions of the columns: features, given and true labels, and a nameless index."""

    features: list[int]
    labels: list[int]
    index: int | None


def _columns(
    path: str,
    header: Sequence[str],
    label_column: str,
    true_label_column: str,
    ignore_columns: Sequence[str],
) -> _Columns:
    """Returns the positions of the columns by what they hold."""
    named = {"label_column": label_column or "label", "true_label_column": true_label_column}
    label_at = [_position(path, header, flag, name) for flag, name in named.items() if name]
    if len(set(label_at)) < len(label_at):
        raise UsageError(
            f"label_column and true_label_column both name the column {header[label_at[0]]!r}."
        )
    out = {_position(path, header, "ignore_columns", name) for name in ignore_columns}
    # pandas writes an index without a name; read back and written again, it is "Unnamed: 0".
    index = 0 if header[0] in ("", "Unnamed: 0") and not out & {0} else None
    for at, name in enumerate(header):
        if not name and at != 0:
            raise UsageError(f"{path}, line 1: column {at + 1} has no name; give it one.")
    left = set(range(len(header))) - set(label_at) - out - {index}
    first: dict[str, int] = {}
    for at in sorted(left):
        if first.setdefault(header[at], at) != at:
            raise UsageError(
                f"{path}, line 1: columns {first[header[at]] + 1} and {at + 1} are both named "
                f"{header[at]!r}; give one of them another name."
            )
    if not left:
        raise UsageError(f"{path} has no column of inputs, only labels.")
    return _Columns(sorted(left), label_at, index)


def _notes_on_index(path: str, index: Sequence[str]) -> tuple[str, ...]:
    """Returns a note on an ignored index; refuses a column without a name that is not an index."""
    if not index:
        return ()
    if not all(cell.isdecimal() for cell in index) or len(set(index)) < len(index):
        raise UsageError(
            f"{path}, line 1: the first column has no name, and does not number the rows; give it "
            "a name."
        )
    return (f"{path}: the first column has no name and numbers the rows; it is ignored.",)


def _position(path: str, columns: Sequence[str], flag: str, name: str) -> int:
    """Returns the position of the column of this name."""
    found = columns.count(name)
    if found != 1:
        trouble = "there is no column" if not found else f"{found} columns have the name"
        raise UsageError(
            f"{path}, line 1: {trouble} {name!r}; {flag} must name one of "
            f"{', '.join(columns[:20])}{', ...' if len(columns) > 20 else ''}."
        )
    return columns.index(name)


def _notes_on_counting(path: str, x: np.ndarray, names: Sequence[str]) -> list[str]:
    """Warns of features that number the rows: they reveal the labels of rows sorted by class."""
    counting = len(x) > 2 and (np.diff(x, axis=0) == 1).all(axis=0)
    return [
        f"{path}: column {str(name)!r} numbers the rows but is used as an input; "
        f"if it is an index, ignore it with --ignore_columns={name}"
        for name in np.asarray(names)[counting]
    ]


def _notes_on_constants(path: str, x: np.ndarray, names: Sequence[str]) -> list[str]:
    """Returns a note on features that are the same in all rows."""
    constant = np.asarray(names)[(x == x[0]).all(axis=0)].tolist()
    more = ", ..." if len(constant) > 10 else ""
    some = ", ".join(map(repr, constant[:10]))
    return [f"{path}: the same number in all rows: column {some}{more}"] if constant else []
