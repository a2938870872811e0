"""Numbers and names of things in messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Returns a number of things: 1 label, 1,234 labels.

    Args:
        number: How many.
        noun: What one of them is called; an s makes it many.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Returns names in words: a, b, c and 5 more.

    Args:
        names: All of them.
        most: How many are named.
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
