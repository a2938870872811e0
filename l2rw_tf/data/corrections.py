"""Corrections: a reviewer's decisions on the labels of training examples.

corrections.csv has one row per reviewed example. `report.html` writes it, and it may be edited by
hand or in a spreadsheet: a BOM, `;` or tabs between cells, decisions in upper case, `001` turned
into 1 and a hash of digits turned into 1.23457E+15 are understood.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from l2rw_tf.command_line.counting import counted
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.origins import cell, content_hash, text_of
from l2rw_tf.errors import UsageError

NAME = "corrections.csv"
COLUMNS = ("origin", "content_hash", "given_label", "decision", "label")
RIGHT, OTHER, UNUSABLE, UNDECIDED = DECISIONS = ("right", "other", "unusable", "undecided")


@dataclasses.dataclass(frozen=True)
class Correction:
    """A row of corrections.csv; all cells but origin and decision may be empty.

    Attributes:
        origin: Where the example comes from, relative to the data set.
        content_hash: Hash of its input when it was reviewed.
        given_label: The name of its given class when it was reviewed.
        decision: One of `DECISIONS`.
        label: The name of the right class.
        line: The line in the file, counted from 1.
    """

    origin: str
    content_hash: str
    given_label: str
    decision: str
    label: str
    line: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True)
class Applied:
    """The result of applying corrections to examples.

    Attributes:
        examples: Examples without a decision, with unchanged labels.
        trusted: Confirmed and corrected examples, in the order of their ids, with the labels that
            were decided.
        counts: Number of examples by decision.
    """

    examples: Examples
    trusted: Examples
    counts: dict[str, int]


def read(path: str) -> list[Correction]:
    """Reads corrections.csv.

    Args:
        path: The file: UTF-8, a line of column names, cells separated by commas, semicolons or
            tabs. The columns origin and decision are required; other missing columns are empty.

    Raises:
        UsageError: If the file cannot be read, or lacks a required column.
    """
    name = f"corrections={path}"
    try:
        with open(os.path.expanduser(path), newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{name} is not text in UTF-8: save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        missing = [column for column in ("origin", "decision") if header.count(column) != 1]
        if missing:
            raise UsageError(
                f"{name}, line 1: needs one column {missing[0]!r}; the columns of corrections.csv "
                f"are {','.join(COLUMNS)}, this file has {','.join(header)[:100] or 'none'}."
            )
        at = {column: header.index(column) for column in COLUMNS if column in header}
        found = []
        for row in rows:
            # Spreadsheets omit or add empty cells at the end of a line.
            cells = [text_of(one.strip()) for one in row] + [""] * (len(header) - len(row))
            values = {column: cells[at[column]] if column in at else "" for column in COLUMNS}
            values["decision"] = values["decision"].lower()
            # People omit the leading ./ of a path.
            values["origin"] = re.sub(r"^(?!\./|/|index |$)", "./", values["origin"])
            # Rows with neither were not reviewed: a table of all labels may be filled in partly.
            if values["decision"] or values["label"]:
                found.append(Correction(**values, line=rows.line_num))
    except csv.Error as error:
        raise UsageError(f"{name}, line {rows.line_num}: {error}.") from error
    return found


def as_csv(rows: Iterable[Correction]) -> str:
    """Returns the text of a corrections.csv that is safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(getattr(row, column)) for column in COLUMNS] for row in rows)
    return text.getvalue()


def applied(
    examples: Examples,
    rows: Sequence[Correction],
    *,
    class_names: Sequence[str],
    given_are_own: bool,
    source: str,
    listed: Examples | None = None,
    trusted_origins: Iterable[str] = (),
) -> Applied:
    """Checks all corrections against the examples, then applies them.

    Args:
        examples: The training data of a source, before any split, with their origins.
        rows: The corrections.
        class_names: A name for each class.
        given_are_own: Whether training uses the labels of `examples`; if they are corrupted later,
            the reviewed labels are not known here.
        source: Where the rows come from, for the message.
        listed: Training examples that are already known to be right, and are not in `examples`:
            rows may only confirm these.
        trusted_origins: Origins of all examples that are already known to be right.

    Raises:
        UsageError: If rows do not fit the examples; lists all of these rows.
    """
    names, problems, everything = _Names(class_names), _Problems(rows), rows
    if listed is not None:
        of_listed = set(listed.origins.tolist())
        confirming = [row for row in rows if row.origin in of_listed]
        rows = [row for row in rows if row.origin not in of_listed]
        _check(listed, confirming, names, given_are_own, problems)
        for row in confirming:
            if row.decision in (OTHER, UNUSABLE):
                problems.add(
                    row, f"{row.origin} is {_verdict(row)} here, but clean_data lists it as right"
                )
    beside = set(trusted_origins).difference(examples.origins.tolist())
    for row in (one for one in rows if one.origin in beside):
        problems.add(row, f"{row.origin} is a trusted example already: leave the row out")
    positions = _check(examples, rows, names, given_are_own, problems)
    labels = _decided(examples, rows, positions, names, problems)
    problems.raise_if_any(source)
    if all(row.decision == UNDECIDED for row in everything):
        raise UsageError(f"{source}: no row has a decision; write {RIGHT}, {OTHER} or {UNUSABLE}.")
    trusted = sorted(at for at, (_, label) in labels.items() if label is not None)
    rest = np.setdiff1d(np.arange(len(examples)), list(labels))
    chosen = examples.take(np.asarray(trusted, np.int64))
    y = np.asarray([labels[at][1] for at in trusted], np.int64)
    true_y = chosen.true_y if given_are_own else chosen.with_labels(y).true_y
    return Applied(
        examples=examples.take(rest),
        trusted=dataclasses.replace(chosen, y=y, true_y=true_y),
        counts=counts(everything),
    )


def _check(
    examples: Examples,
    rows: Sequence[Correction],
    names: _Names,
    given_are_own: bool,
    problems: _Problems,
) -> list[int]:
    """Returns the position of each row's example; adds rows that do not fit to `problems`."""
    position_of = {origin: position for position, origin in enumerate(examples.origins.tolist())}
    positions = [position_of.get(row.origin, -1) for row in rows]
    for row, position in zip(rows, positions, strict=True):
        if position < 0:
            problems.add_unknown(row)
        else:
            problems.add(row, _fault(row, names))
    _check_contents(examples, rows, positions, problems)
    for row, position in zip(rows, positions, strict=True):
        now = names.class_names[examples.y[position]]
        if given_are_own and row.given_label and names.label(row.given_label) != names.label(now):
            problems.add(
                row,
                f"{row.origin} was reviewed with the label {row.given_label!r}, but its label is "
                f"{now!r} now",
            )
    return positions


def decided(
    rows: Sequence[Correction],
    class_names: Sequence[str],
    known: Mapping[str, tuple[str, str]],
    source: str,
) -> dict[str, tuple[str, str]]:
    """Checks corrections against the origins, hashes and labels of examples, without their inputs.

    Args:
        rows: The corrections.
        class_names: A name for each class.
        known: The content hash (or an empty text) and the given label of each example by origin.
        source: Where the rows come from, for the message.

    Returns:
        Decision and name of the right class (or an empty text) by origin, without undecided ones.

    Raises:
        UsageError: If rows do not fit the examples; lists all of these rows.
    """
    names, problems = _Names(class_names), _Problems(rows)
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        content, given = known.get(row.origin, ("", ""))
        if row.origin not in known:
            problems.add_unknown(row)
        elif row.content_hash and content and not _same_hash(row.content_hash, content):
            changed = f"{row.origin} is not what was reviewed: its hash is {content}"
            problems.add(row, changed, is_unknown=True)
        else:
            problems.add(row, _fault(row, names))
        label = {RIGHT: row.given_label or given, OTHER: row.label}.get(row.decision, "")
        number = names.label(label)
        verdict = (row.decision, "" if number is None else class_names[number])
        if row.decision != UNDECIDED and found.setdefault(row.origin, verdict) != verdict:
            problems.add(row, f"{row.origin} is {_verdict(row)} here, but not in an earlier line")
    problems.raise_if_any(source, "nothing was written")
    return found


def counts(rows: Iterable[Correction]) -> dict[str, int]:
    """Returns the number of examples by decision; repeated rows count once."""
    found = dict.fromkeys(DECISIONS, 0)
    for decision, _ in {(row.decision, row.origin) for row in rows}:
        found[decision] += 1
    return found


def in_words(counts: dict[str, int]) -> str:
    """Returns the numbers of confirmed, corrected and unusable examples as text."""
    return (
        f"{counted(counts[RIGHT], 'label')} confirmed, {counts[OTHER]:,} corrected, "
        f"{counted(counts[UNUSABLE], 'example')} not usable"
    )


class _Problems:
    """Problems of rows by line; keeps the first of a line, which mostly explains the rest."""

    def __init__(self, rows: Sequence[Correction]) -> None:
        self._number = len(rows)
        self._found: dict[int, str] = {}
        self._unknown: set[int] = set()

    def add(self, row: Correction, problem: str | None, is_unknown: bool = False) -> None:
        """Adds a problem of a row; `is_unknown` if its example is missing or has changed."""
        if problem and self._found.setdefault(row.line, problem) == problem and is_unknown:
            self._unknown.add(row.line)

    def add_unknown(self, row: Correction) -> None:
        self.add(row, f"no training example comes from {row.origin or 'an empty origin'!r}", True)

    def raise_if_any(self, source: str, outcome: str = "nothing was trained") -> None:
        if not self._found:
            return
        lines = [f"  line {line}: {problem}" for line, problem in sorted(self._found.items())]
        hint = ""
        if len(self._unknown) == self._number:
            # The hash covers the image as it is trained on, scaled.
            hint = " None fits: were these made with another data set, or another image_size?"
        raise UsageError(
            f"{source}: {len(self._found):,} of {self._number:,} rows do not fit the data, and "
            f"{outcome}.{hint} Correct or remove these rows:\n" + "\n".join(lines)
        )


class _Names:
    """Labels by class name; a number may be written in any form, such as 1 for 001."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._labels = {name: label for label, name in enumerate(class_names)}
        numbers = [_number(name) for name in class_names]
        self._numbers = {
            number: label
            for label, number in enumerate(numbers)
            if number is not None and numbers.count(number) == 1
        }

    def label(self, name: str) -> int | None:
        """Returns the label of the class that a cell names, or None if there is no such class."""
        return self._labels.get(name, self._numbers.get(_number(name)))


def _fault(row: Correction, names: _Names) -> str | None:
    """Returns what is wrong with a row by itself, or None."""
    if row.decision not in DECISIONS:
        return f"the decision {row.decision!r} is not one of {', '.join(DECISIONS)}"
    if row.decision == OTHER and not row.label:
        return "the decision is other, but the cell label is empty"
    needed = (row.given_label, row.label) if row.decision in (RIGHT, OTHER) else ()
    unknown = [name for name in needed if name and names.label(name) is None]
    if unknown:
        some = ", ".join(names.class_names[:20]) + (", ..." if len(names.class_names) > 20 else "")
        return f"there is no class {unknown[0]!r}: classes are named, as in classes.json: {some}"
    same = names.label(row.given_label) == names.label(row.label)
    if row.decision == RIGHT and row.label and row.given_label and not same:
        return (
            f"the decision is right, but the label {row.label!r} differs from the given label, "
            f"{row.given_label!r}"
        )
    if row.decision == OTHER and row.given_label and same:
        return f"the decision is other, but the label {row.label!r} is the given label"
    return None


def _check_contents(
    examples: Examples, rows: Sequence[Correction], positions: Sequence[int], problems: _Problems
) -> None:
    """Adds the rows whose example has changed since the review to `problems`."""
    checked = [(row, at) for row, at in zip(rows, positions, strict=True) if row.content_hash]
    there = [(row, at) for row, at in checked if at >= 0]
    now = content_hash(examples.take(np.asarray([at for _, at in there], np.int64)))
    changed = [
        (row, found)
        for (row, _), found in zip(there, now.tolist(), strict=True)
        if not _same_hash(row.content_hash, found)
    ]
    if not changed:
        return
    place_of = dict(zip(content_hash(examples).tolist(), examples.origins.tolist(), strict=True))
    for row, found in changed:
        place = place_of.get(row.content_hash.lower())
        problems.add(
            row,
            f"{row.origin} is not what was reviewed: its content hash is {found}, not "
            f"{row.content_hash}" + (f", which {place} has now" if place else ""),
            is_unknown=True,
        )


def _decided(
    examples: Examples,
    rows: Sequence[Correction],
    positions: Sequence[int],
    names: _Names,
    problems: _Problems,
) -> dict[int, tuple[str, int | None]]:
    """Returns decision and label by position; the label of an unusable example is None."""
    found: dict[int, tuple[str, int | None]] = {}
    first: dict[int, Correction] = {}
    for row, position in zip(rows, positions, strict=True):
        if position < 0 or row.decision not in (RIGHT, OTHER, UNUSABLE):
            continue
        name = row.label if row.decision == OTHER else row.given_label or row.label
        label = None
        if row.decision != UNUSABLE:
            label = names.label(name) if name else int(examples.y[position])
        other = found.setdefault(position, (row.decision, label))
        if other != (row.decision, label):
            problems.add(
                row,
                f"{row.origin} is {_verdict(row)} here and {_verdict(first[position])} in line "
                f"{first[position].line}",
            )
        first.setdefault(position, row)
    return found


def _verdict(row: Correction) -> str:
    return f"{row.decision} ({row.label})" if row.label else row.decision


def _number(text: str) -> float | None:
    try:
        number = float("" if "_" in text else text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _same_hash(given: str, found: str) -> bool:
    """Returns whether a cell holds a hash, or the number that a spreadsheet made of its digits."""
    one, other = _number(given), _number(found)
    as_numbers = one is not None and other is not None and math.isclose(one, other, rel_tol=1e-5)
    return given.lower() == found or as_numbers
