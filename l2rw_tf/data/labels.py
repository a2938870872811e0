"""Classes from labels of any kind: whole numbers or names."""

from __future__ import annotations

import numpy as np

from l2rw_tf.errors import UsageError


def encode(values: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes that occur.

    Args:
        values: Labels (n,), whole numbers or strings. Strings that all are numbers are put in the
            order of the numbers.
        where: The file and column, for messages.

    Returns:
        Labels (n,) int64 from 0, and the name of each class.

    Raises:
        UsageError: Fewer than two classes, or so many that the labels must be numbers to predict.
    """
    names, y = np.unique(values, return_inverse=True)
    if names.dtype.kind == "U":
        try:
            order = np.argsort([float(name) for name in names], kind="stable")
        except ValueError:
            order = np.arange(len(names))
        y, names = np.argsort(order)[y], names[order]
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
