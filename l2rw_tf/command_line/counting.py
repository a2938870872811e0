"""Formats numbers and names of things for messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Returns a number of things: 1 label, 1,234 labels.

    Args:
        number: The number.
        noun: The noun in the singular; the plural adds an s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Returns names as text: a, b, c and 5 more.

    Args:
        names: All names.
        most: Largest number of names to show.
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
