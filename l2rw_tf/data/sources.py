"""Data sets by name or by path.

To add a reader, add a file here with two functions, and a line in `READERS`: `can_read(dataset)`
returns whether it reads data sets of such a name, and `read(dataset, **options)`, which names the
options of `load` that it uses, returns a `Source`.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence

import numpy as np

from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.errors import UsageError

# Tried in this order; the last one is slow to import.
READERS = ("tables", "folder", "tfds_images")


def load(
    dataset: str,
    *,
    data_dir: str | None = None,
    label_column: str = "",
    true_label_column: str = "",
    ignore_columns: Sequence[str] = (),
    image_size: int | None = None,
    bad_files: str = "stop",
) -> Source:
    """Reads a data set.

    A file or folder takes precedence over a data set of TensorFlow Datasets of the same name; only
    `"digits"` is always the embedded data set.

    Args:
        dataset: `"digits"` (needs no download), the name of an image classification data set of
            TensorFlow Datasets, a folder of images with a sub-folder for each class, or a .csv or
            .npz file of numbers with labels.
        data_dir: Directory of prepared data of TensorFlow Datasets; by default TFDS_DATA_DIR, or
            else ~/tensorflow_datasets.
        label_column: The column (CSV), array (npz) or feature (TensorFlow Datasets) of the labels;
            if empty, the usual or only one.
        true_label_column: The column, array or feature of the true labels; empty if unknown.
        ignore_columns: Columns of a CSV file to ignore.
        image_size: Height and width in pixels that all images are scaled to; required if they
            differ in size.
        bad_files: `"stop"` refuses a folder with unreadable images, `"skip"` leaves them out.

    Returns:
        The data set.

    Raises:
        UsageError: If there is no such data set, or its files are broken.
        DataUnavailable: If it is not found locally and cannot be downloaded.
    """
    for name in READERS:
        reader = importlib.import_module(f"l2rw_tf.data.{name}")
        if reader.can_read(dataset):
            return reader.read(
                dataset,
                data_dir=data_dir,
                label_column=label_column,
                true_label_column=true_label_column,
                ignore_columns=ignore_columns,
                image_size=image_size,
                bad_files=bad_files,
            )
    if os.path.exists(os.path.expanduser(dataset)):
        raise UsageError(
            f"dataset {dataset!r} is a file, but neither a .csv nor a .npz file; give one of "
            "these, a folder of images, or the name of a data set."
        )
    raise UsageError(f"dataset {dataset!r}: there is no such folder or file.")


def select_classes(source: Source, classes: Sequence[str | int]) -> Source:
    """Selects classes of a data set, and renumbers them in the order given.

    Args:
        source: The data set.
        classes: Names of classes, or their numbers from 0; at least two different ones.

    Returns:
        The data set with these classes only, and unchanged ids.

    Raises:
        UsageError: If a class is unknown or repeated, or there are too few.
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
        trusted=None if source.trusted is None else _only(source.trusted, numbers),
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
    """Returns the examples of some classes, with labels 0, 1, ... in the order of the classes.

    If the true label of an example is known, both its labels must be among the classes.
    """
    is_one = np.isin(examples.y, numbers)
    if examples.true_y is not None:
        is_one &= np.isin(examples.true_y, numbers)
    some = examples.take(np.flatnonzero(is_one))
    order = np.argsort(numbers)

    def renumbered(y: np.ndarray) -> np.ndarray:
        return order[np.searchsorted(np.asarray(numbers)[order], y)].astype(np.int64)

    true_y = None if some.true_y is None else renumbered(some.true_y)
    return dataclasses.replace(some, y=renumbered(some.y), true_y=true_y)
