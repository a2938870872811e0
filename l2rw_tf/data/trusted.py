"""Trusted examples: examples whose labels the user knows to be right."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence

import numpy as np

from l2rw_tf.command_line.counting import some_of
from l2rw_tf.data import csv_files, folder, labels, npz_files
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.data.origins import text_of
from l2rw_tf.data.rows import Rows
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError

# NAME:SPLIT, where NAME may have a configuration and a version.
_SPLIT = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*(/[\w.\-]+)?(:\d+\.\d+\.\d+)?):(?P<split>[A-Za-z]\w*)"
)
# The names of a run's own copy of a list or a table.
COPIES = ("trusted.txt", "trusted.csv", "trusted.npz")


def own_copy(clean_data: str) -> str | None:
    """Returns the name of a run's copy of the file of trusted examples, or None.

    Args:
        clean_data: The setting; folders and splits are not copied.
    """
    path = os.path.expanduser(clean_data)
    ending = os.path.splitext(path)[1].lower()
    if not os.path.isfile(path):
        return None
    return next((name for name in COPIES if name.endswith(ending or ".txt")), COPIES[0])


def add(source: Source, settings: DataSettings) -> Source:
    """Adds the trusted examples that the settings name to a data set.

    They replace trusted examples that were found next to the training part. Trusted examples that
    are listed in the training part are removed from it.

    Args:
        source: The data set, with all of its classes.
        settings: `clean_data`: a folder of CLASS/IMAGE, a .csv or .npz file, a split of a data set
            of TensorFlow Datasets (`cifar10:test`), or a text file with an origin or an id of a
            training example per line.

    Raises:
        UsageError: If they cannot be read, or do not match the data set's examples.
        DataUnavailable: If the data set of the split is not available.
    """
    given = settings.clean_data
    if not given:
        return source
    path, split = os.path.expanduser(given), _SPLIT.fullmatch(given)
    if os.path.isdir(path):
        trusted, notes, left_out = _of_folder(given, source, settings)
        source = dataclasses.replace(source, left_out=source.left_out + left_out)
    elif given.lower().endswith((".csv", ".npz")):
        trusted, notes = _of_file(given, source, settings)
    elif split and not os.path.exists(path):
        trusted, notes = _of_split(split["name"], split["split"], source, settings), []
    else:
        rows = _listed(given, source)
        trusted, notes = source.train.take(rows).with_true_labels().in_memory(), []
        source = dataclasses.replace(
            source,
            train=source.train.take(np.setdiff1d(np.arange(len(source.train)), rows)),
            trusted_origins=frozenset(trusted.origins.tolist()),
        )
    notes = [*notes, f"trusted examples: the {len(trusted):,} of {given}"]
    if source.trusted is not None:
        beside = os.path.join(source.name, *source.trusted.origins[0].split("/")[1:2])
        if os.path.realpath(os.path.expanduser(beside)) != os.path.realpath(path):
            number = len(source.trusted)
            notes.append(f"the {number:,} of {beside} are not used: clean_data names others")
    # Trusted examples found next to the training part are not used.
    kept = [note for note in source.notes if not note.startswith("trusted examples:")]
    return dataclasses.replace(source, trusted=trusted, notes=(*kept, *notes))


def _of_folder(
    path: str, source: Source, settings: DataSettings
) -> tuple[Examples, Sequence[str], tuple[tuple[str, str], ...]]:
    if source.kind != "image":
        raise UsageError(f"clean_data={path} is a folder of images, but {source.name} is a table.")
    return folder.load_like(path, source, settings.image_size, settings.bad_files)


def _of_file(path: str, source: Source, settings: DataSettings) -> tuple[Examples, Sequence[str]]:
    if path.lower().endswith(".npz"):
        rows = npz_files.npz_rows(path, settings.label_column, "")["train"]
        if rows.x.shape[1:] != source.input_shape:
            raise _unlike(path, f"one input is {rows.x.shape[1:]}", source)
    else:
        _, header = next(csv_files.numbered_rows(path))
        if len(header) == 1:
            raise UsageError(
                f"clean_data={path} has one column, but a table needs more; the name of a list of "
                "training examples must end in .txt."
            )
        if source.kind != "table":
            raise _unlike(path, "it is a table", source)
        rows = csv_files.csv_rows(path, settings.label_column, "", settings.ignore_columns)
        rows = _in_order_of(source, rows, path)
    y = labels.match(rows.labels, source.class_names, rows.where)
    return examples_from(rows.x, y, origins=rows.origins), rows.notes


def _in_order_of(source: Source, rows: Rows, path: str) -> Rows:
    """Returns the rows with the features in the order of the data set."""
    if set(rows.feature_names) != set(source.feature_names):
        if source.feature_names == tuple(map(str, range(source.input_shape[0]))):
            # The columns of a .npz file have no names.
            if len(rows.feature_names) != source.input_shape[0]:
                raise _unlike(path, f"it has {len(rows.feature_names)} features", source)
            return rows
        lacks = [name for name in source.feature_names if name not in rows.feature_names]
        more = [name for name in rows.feature_names if name not in source.feature_names]
        faults = {"lacks columns": lacks, "has other columns": more}
        raise UsageError(
            f"clean_data={path} "
            + " and ".join(f"{fault} ({_some(names)})" for fault, names in faults.items() if names)
            + f"; trusted examples must have those of {source.name}."
        )
    order = [rows.feature_names.index(name) for name in source.feature_names]
    return dataclasses.replace(rows, x=rows.x[:, order])


def _some(names: Sequence[str]) -> str:
    """Returns the first ten names of columns, separated by commas."""
    return f"{', '.join(map(repr, names[:10]))}{', ...' if len(names) > 10 else ''}"


def _of_split(name: str, split: str, source: Source, settings: DataSettings) -> Examples:
    # It imports TensorFlow.
    from l2rw_tf.data import tfds_images

    label = settings.true_label_column or settings.label_column
    read = tfds_images.read(
        name,
        data_dir=settings.data_dir or None,
        image_size=settings.image_size,
        label_column=label if name == settings.dataset else "",
        only_split=split,
    )
    if read.input_shape != source.input_shape:
        raise _unlike(f"{name}:{split}", f"one image is {read.input_shape}", source)
    numbers = tuple(map(str, range(source.num_classes)))
    if numbers in (source.class_names, read.class_names) and read.num_classes == source.num_classes:
        # If one of them does not name its classes (cifar10_n and cifar10), numbers are compared.
        return read.train.in_memory()
    in_words = np.asarray(read.class_names)[read.train.y]
    y = labels.match(in_words, source.class_names, f"clean_data={name}:{split}")
    return dataclasses.replace(read.train, y=y).in_memory()


def _unlike(path: str, what: str, source: Source) -> UsageError:
    shape = " x ".join(map(str, source.input_shape))
    of = "pixels and channels" if source.kind == "image" else "features"
    return UsageError(
        f"clean_data={path}: {what}, but {source.name} is {source.kind} data of {shape} {of}; "
        "trusted examples must match the training data."
    )


def read_list(path: str) -> list[tuple[int, str]]:
    """Returns the number and text of each line of a text file that is not empty.

    Args:
        path: The file, UTF-8, with one origin (as `origins.cell` writes it) or id per line.

    Raises:
        UsageError: If it cannot be read.
    """
    try:
        with open(os.path.expanduser(path), encoding="utf-8-sig") as file:
            names = [line.strip() for line in file]
    except OSError as error:
        raise UsageError(
            f"clean_data={path} cannot be read: {error.strerror}; it must be a folder, a .csv or "
            ".npz file, a text file that lists training examples, or a split (cifar10:test)."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"clean_data={path} is not text in UTF-8: it must be a folder, a .csv or .npz file, or "
            "a text file that lists training examples, one per line."
        ) from error
    return [(line, text_of(name)) for line, name in enumerate(names, 1) if name]


def _listed(path: str, source: Source) -> np.ndarray:
    """Returns the positions of the training examples that a text file lists, sorted."""
    train, place = source.train, os.path.abspath(os.path.expanduser(source.name))
    positions = {str(one): position for position, one in enumerate(train.ids.tolist())}
    if train.origins is not None:
        by_origin = {one: position for position, one in enumerate(train.origins.tolist())}
        below = place if os.path.isdir(place) else os.path.dirname(place)
        absolute = {os.path.normpath(f"{below}/{one}"): at for one, at in by_origin.items()}
        relative = {one.removeprefix("./"): at for one, at in by_origin.items()}
        positions |= absolute | relative | by_origin
    lines = read_list(path)
    unknown = [f"{name!r} (line {line})" for line, name in lines if name not in positions]
    if unknown:
        example = train.origins[0] if train.origins is not None else train.ids[0]
        raise UsageError(
            f"clean_data={path} lists names that are not training examples: "
            f"{some_of(unknown)}; write them like {str(example)!r}, or give their ids."
        )
    if not lines:
        raise UsageError(f"clean_data={path} is empty: it lists no training examples.")
    rows = np.unique([positions[name] for _, name in lines])
    if len(rows) == len(train):
        raise UsageError(
            f"clean_data={path} lists all {len(train):,} training examples, which leaves none to "
            "train on; if all labels are right, set --labels_are_right instead."
        )
    return rows
