"""Numbers of things in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Returns a number of things: 1 label, 1,234 labels.

    Args:
        number: How many.
        noun: What one of them is called; an s makes it many.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
