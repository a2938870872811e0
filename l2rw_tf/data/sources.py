"""Data sets by name or by path.

A reader is a file here with two functions, and a line in `READERS`: `can_read(dataset)` says
whether a name is one of its own, and `read(dataset, **options)` returns a `Source`; it names those
of the options of `load` that it has a use for.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence

import numpy as np

from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.errors import UsageError

# Asked in this order; the last one is slow to import.
READERS = ("tables", "folder", "tfds_images")


def load(
    dataset: str,
    *,
    data_dir: str | None = None,
    label_column: str = "label",
    image_size: int | None = None,
) -> Source:
    """Reads a data set.

    A file or folder of the name goes before a data set of TensorFlow Datasets of the same name;
    only `"digits"` is always the embedded data set.

    Args:
        dataset: `"digits"` (needs no network), the name of an image classification data set of
            TensorFlow Datasets, a folder of images with a sub-folder for each class, or a .csv or
            .npz file of numbers with labels.
        data_dir: Where prepared data of TensorFlow Datasets lies; by default TFDS_DATA_DIR, or else
            ~/tensorflow_datasets.
        label_column: The column (CSV) or array (npz) that holds the labels.
        image_size: Height and width in pixels that all images are scaled to; needed where they are
            of several sizes.

    Returns:
        The data set.

    Raises:
        UsageError: There is no such data set, or its files are broken.
        DataUnavailable: It is neither on this machine nor available from the network.
    """
    for name in READERS:
        reader = importlib.import_module(f"l2rw_tf.data.{name}")
        if reader.can_read(dataset):
            return reader.read(
                dataset, data_dir=data_dir, label_column=label_column, image_size=image_size
            )
    if os.path.exists(os.path.expanduser(dataset)):
        raise UsageError(
            f"dataset {dataset!r} is a file, but neither a .csv nor a .npz file; give one of "
            "these, a folder of images, or the name of a data set."
        )
    raise UsageError(f"dataset {dataset!r}: there is no such folder or file.")


def select_classes(source: Source, classes: Sequence[str | int]) -> Source:
    """Keeps some classes of a data set; they are numbered anew in the order given.

    Args:
        source: The data set.
        classes: Names of classes, or their numbers from 0; at least two different ones.

    Returns:
        The same data set without the other classes; ids stay those of the whole.

    Raises:
        UsageError: No such class, too few, or one twice.
    """
    numbers = [_class_number(source, name) for name in classes]
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"classes must name at least 2 different classes, got "
            f"{', '.join(map(str, classes)) or 'none'}."
        )
    return dataclasses.replace(
        source,
        train=_only(source.train, numbers),
        test=None if source.test is None else _only(source.test, numbers),
        class_names=tuple(source.class_names[number] for number in numbers),
    )


def _class_number(source: Source, name: str | int) -> int:
    if str(name) in source.class_names and not isinstance(name, int):
        return source.class_names.index(str(name))
    if str(name).isdecimal() and int(name) < source.num_classes:
        return int(name)
    raise UsageError(
        f"{source.name} has no class {name!r}; its classes are 0 to {source.num_classes - 1}: "
        f"{', '.join(source.class_names[:20])}{', ...' if source.num_classes > 20 else ''}."
    )


def _only(examples: Examples, numbers: Sequence[int]) -> Examples:
    """Returns the examples of some classes, with labels 0, 1, ... in the order of these."""
    some = examples.take(np.flatnonzero(np.isin(examples.y, numbers)))
    order = np.argsort(numbers)
    y = order[np.searchsorted(np.asarray(numbers)[order], some.y)]
    return dataclasses.replace(some, y=y.astype(np.int64))
