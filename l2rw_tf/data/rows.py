"""The contents of a file before its classes are numbered, and the data set made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from l2rw_tf.data import labels
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.errors import UsageError

# The largest number that an input may be.
LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The contents of a file before its classes are numbered.

    Attributes:
        x: float32 (n, features), or uint8 images (n, height, width, channels).
        labels: (n,), whole numbers or strings.
        true_labels: (n,), if the file has them.
        where: Where the labels are, for messages.
        feature_names: The names of the features of a CSV file.
        origins: As in `Examples`; None for indices.
        notes: Sentences for the user about reading the file.
    """

    x: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None
    where: str
    feature_names: tuple[str, ...] = ()
    origins: Sequence[str] | None = None
    notes: tuple[str, ...] = ()


def source_of(path: str, parts: dict[str, Rows]) -> Source:
    """Numbers the classes of all parts of a file together.

    Args:
        path: The file.
        parts: `"train"` and, if the file has one, `"test"`.

    Raises:
        UsageError: If labels are not classes, or only the test part has a class.
    """
    train = parts["train"]
    values = [rows.labels for rows in parts.values()]
    values += [rows.true_labels for rows in parts.values() if rows.true_labels is not None]
    y, class_names = labels.encode(np.concatenate(values), train.where)
    numbered = iter(np.split(y, np.cumsum([len(one) for one in values])[:-1]))
    given = {part: next(numbered) for part in parts}
    examples = {
        part: examples_from(
            rows.x,
            given[part],
            true_y=None if rows.true_labels is None else next(numbered),
            origins=rows.origins,
        )
        for part, rows in parts.items()
    }
    _check_test_classes(path, examples, class_names)
    image = train.x.ndim == 4
    feature_names = train.feature_names or tuple(map(str, range(train.x.shape[1])))
    return Source(
        name=str(path),
        train=examples["train"],
        test=examples.get("test"),
        class_names=class_names,
        kind="image" if image else "table",
        feature_names=() if image else feature_names,
        notes=train.notes,
    )


def _check_test_classes(path: str, parts: dict[str, Examples], class_names: Sequence[str]) -> None:
    """Refuses a class that only the test part has."""
    if "test" not in parts:
        return
    unknown = np.setdiff1d(parts["test"].y, parts["train"].y)
    if len(unknown):
        raise UsageError(
            f"{path}: class {class_names[unknown[0]]!r} is in y_test, but not in y_train."
        )
