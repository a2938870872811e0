"""Numbers the classes of labels, which may be whole numbers or names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from l2rw_tf.errors import UsageError

# How spreadsheets, pandas, R and databases write a missing value.
_MISSING = frozenset(
    "nan +nan -nan na n/a <na> null #n/a #na #null! -1.#ind 1.#ind -1.#qnan 1.#qnan".split()
) | {"", "#n/a n/a"}

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def is_missing(label: str) -> bool:
    """Returns whether a cell stands for a missing label; "None" does, "none" does not.

    Args:
        label: The text of the cell.
    """
    return label.lower() in _MISSING or label == "None"


def match(values: np.ndarray, class_names: Sequence[str], where: str) -> np.ndarray:
    """Numbers labels by existing class names; `1`, `1.0` and `001` are the same number.

    Args:
        values: Labels (n,), whole numbers or strings.
        class_names: The name of each class.
        where: Where the labels are, for messages.

    Returns:
        Labels (n,) int64.

    Raises:
        UsageError: If a label is not a class.
    """
    by_name = {name: label for label, name in enumerate(class_names)}
    by_number = {_number(name): label for name, label in by_name.items()}
    names, which = np.unique(values, return_inverse=True)
    labels = []
    for name in map(str, names):
        label = by_name.get(name, by_number.get(_number(name)))
        if label is None or (name not in by_name and _number(name) is None):
            raise UsageError(
                f"{where}: there is no class {name!r} in the training data, only "
                f"{', '.join(class_names[:20])}{', ...' if len(class_names) > 20 else ''}."
            )
        labels.append(label)
    return np.array(labels, np.int64)[which.reshape(-1)]


def _number(name: str) -> float | None:
    try:
        # Python would read 1_0 and infinity as numbers; as class names they are text.
        number = float("" if "_" in name else name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def unusable(name: str) -> str:
    """Returns why a name cannot be written into text files; empty if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "it is not text in UTF-8"
    return "it holds control characters" if _CONTROL.search(name) else ""


def encode(values: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes that occur.

    Args:
        values: Labels (n,), whole numbers or strings. If all strings are numbers, they are sorted
            as numbers, and `1` and `1.0` are one class.
        where: The file and column, for messages.

    Returns:
        Labels (n,) int64 from 0, and the name of each class.

    Raises:
        UsageError: If there are fewer than two classes, or so many that the labels must be
            regression targets.
    """
    names, y = np.unique(values, return_inverse=True)
    if names.dtype.kind == "U":
        numbers = {str(name): _number(str(name)) for name in names}
        keys = {name: name if number is None else number for name, number in numbers.items()}
        # The class is named by the shortest spelling of its number.
        spelling = {keys[name]: name for name in sorted(keys, key=len, reverse=True)}
        all_numbers = None not in numbers.values()
        in_order = sorted(spelling, key=None if all_numbers else spelling.get)
        label_of = {key: label for label, key in enumerate(in_order)}
        y = np.array([label_of[key] for key in keys.values()])[y]
        names = np.array([spelling[key] for key in in_order])
        for name in names.tolist():
            if why := unusable(name):
                raise UsageError(f"{where} holds the label {name!r}: {why}.")
    if len(names) < 2:
        raise UsageError(
            f"{where} holds only the class {str(names[0])!r}; at least 2 classes are needed."
        )
    if len(names) > len(values) / 2:
        raise UsageError(
            f"{where} holds {len(names)} different labels in {len(values)} rows; labels must be "
            "classes, each with several examples, not numbers to predict or names of rows."
        )
    return y.reshape(-1).astype(np.int64), tuple(str(name) for name in names)
