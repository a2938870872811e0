"""Reads the numbers in the cells of a CSV file; records missing and invalid ones."""

from __future__ import annotations

import collections
import itertools
import math
import re

from l2rw_tf.command_line.counting import counted, some_of
from l2rw_tf.data import labels
from l2rw_tf.data.rows import LARGEST
from l2rw_tf.errors import UsageError

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_NAMED = 5


class Cells:
    """Reads numeric cells of a CSV file, and records which are missing or invalid.

    Attributes:
        path: The file.
        wrong: Number of invalid cells by column name.
        words: Columns with cells that are text, not badly written numbers; in their order.
    """

    def __init__(self, path: str) -> None:
        """Starts with no cells."""
        self.path = path
        self._missing: collections.Counter[str] = collections.Counter()
        self.wrong: collections.Counter[str] = collections.Counter()
        self.words: dict[str, None] = {}
        self._first_wrong: dict[str, str] = {}

    def number(self, cell: str, line: int, column: str) -> float:
        """Returns the number in a cell, or NaN if it is missing or does not fit float32.

        Args:
            cell: The cell.
            line: Its line.
            column: The name of its column.
        """
        text = cell.strip()
        if labels.is_missing(text) or text == "?":
            self._missing[column] += 1
            return math.nan
        try:
            # Python would read 1_000 as a number; in a table it is text.
            value = float("" if "_" in text else text)
            what = "a finite number" if math.isinf(value) else "a number that fits float32"
        except ValueError:
            value, what = math.inf, "a number"
        if abs(value) <= LARGEST:
            return value
        self.wrong[column] += 1
        hint = " (write a point, not a comma)" if _DECIMAL_COMMA.fullmatch(text) else ""
        if what == "a number" and not hint:
            self.words[column] = None
        self._first_wrong.setdefault(
            column, f"line {line}: column {column!r} must hold {what}, got {text[:50]!r}{hint}"
        )
        return math.nan

    def error(self, way_out: str) -> UsageError:
        """Returns the error for the invalid cells, with the first one of each column.

        Args:
            way_out: What the user can do.
        """
        faults = []
        for column, fault in itertools.islice(self._first_wrong.items(), _NAMED):
            more = self.wrong[column] - 1
            faults.append(fault + (f", and {more:,} more such cells" if more else ""))
        if len(self.wrong) > _NAMED:
            faults.append(f"{len(self.wrong) - _NAMED:,} more such columns")
        return UsageError(f"{self.path}, {'; '.join(faults)}. {way_out}")

    @property
    def notes(self) -> list[str]:
        """Notes for the user on missing numbers."""
        if not self._missing:
            return []
        number, columns = self._missing.total(), list(map(repr, self._missing))
        where = f"column{'' if len(columns) == 1 else 's'} {some_of(columns, _NAMED)}"
        return [
            f"{self.path}: {counted(number, 'cell')} without a number ({where}), replaced by the "
            "mean of the training data"
        ]
