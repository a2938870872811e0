"""Finds duplicate images: in several classes, or in training data and trusted or test data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from l2rw_tf.command_line.counting import counted, some_of
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.origins import content_hash

NAME = "duplicates.csv"
COLUMNS = ("content_hash", "part", "class", "origin")
# Images of these parts must not be trained on.
_APART = ("clean", "test")


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Images that occur more than once and should not.

    Attributes:
        rows: The cells of `COLUMNS` for each occurrence, grouped by image.
        notes: Sentences for the user.
    """

    rows: tuple[tuple[str, str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def find(parts: Mapping[str, Examples], class_names: Sequence[str]) -> Duplicates:
    """Finds duplicate images by content; removes nothing.

    Args:
        parts: Images with the labels of their source, by the name of the part: training, clean,
            validation, test.
        class_names: A name for each class.
    """
    hashes = np.concatenate([content_hash(examples) for examples in parts.values()])
    part = np.repeat(list(parts), [len(examples) for examples in parts.values()])
    y = np.concatenate([examples.y for examples in parts.values()])
    origins = np.concatenate([examples.origins for examples in parts.values()])
    names, group, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    in_classes, in_parts, rows = [], [], []
    by_group = np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])
    for one in np.flatnonzero(counts > 1):
        at = by_group[one]
        apart = np.isin(part[at], _APART)
        if len(set(y[at])) > 1:
            in_classes.append(" = ".join(origins[at][:2]))
        if apart.any() and not apart.all():
            in_parts.append(" = ".join([origins[at][~apart][0], origins[at][apart][0]]))
        elif len(set(y[at])) == 1:
            continue
        rows += [(str(names[one]), str(part[i]), class_names[y[i]], str(origins[i])) for i in at]
    notes = []
    if in_classes:
        notes.append(f"the same image in several classes: {_images(in_classes)}")
    if in_parts:
        notes.append(
            f"the same image in training data and in test or clean data: {_images(in_parts)}"
        )
    return Duplicates(tuple(rows), tuple(notes))


def _images(pairs: Sequence[str]) -> str:
    return f"{counted(len(pairs), 'image')} ({some_of(pairs)}; {NAME})"
