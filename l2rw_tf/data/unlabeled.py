"""Reads inputs without labels for the network of a finished run: image files and table rows."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from l2rw_tf.command_line.counting import counted
from l2rw_tf.data import csv_files, image_files, images
from l2rw_tf.data.cells import Cells
from l2rw_tf.errors import UsageError


def images_of(
    paths: Sequence[str], shape: tuple[int, int, int], bad_files: str, batch_size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Reads image files and the images of folders, as the reader of folders does.

    Args:
        paths: Files, and folders with images at any depth.
        shape: (height, width, channels) to convert the images to.
        bad_files: `"stop"` or `"skip"`, as in `folder.read`.
        batch_size: Number of images to read at a time.

    Yields:
        Files, sorted by name in each folder, and their images, uint8
        (some, height, width, channels).

    Raises:
        UsageError: If a path does not exist, a folder holds no images, or, after the last image, if
            files cannot be read.
    """
    found = [_files_of(path) for path in paths]
    for files, bad in found:
        for first in range(0, len(files), batch_size):
            good, x = [], []
            for file in files[first : first + batch_size]:
                if file not in bad:
                    with bad.noting(file), image_files.opened(file) as image:
                        x.append(images.as_array(image, shape[-1], shape[:2]))
                        good.append(str(file))
            if x:
                yield good, np.stack(x)
    for _, bad in found:
        if bad_files != "skip":
            bad.settle(skip=False)
        elif bad:
            # There is no left_out.csv here.
            reasons = "\n".join(f"  {file}: {why}" for file, why in bad.reasons)
            print(f"{counted(len(bad.files), 'file')} of {bad.folder} left out:\n{reasons}")
        for note in bad.notes_on_passed_over:
            print(note)


def _files_of(path: str) -> tuple[list[pathlib.Path], image_files.Bad]:
    place = pathlib.Path(os.path.expanduser(path))
    if place.is_file():
        return [place], image_files.Bad(place.parent)
    if not place.is_dir():
        raise UsageError(f"{path}: there is no such folder or file.")
    bad = image_files.Bad(place)
    files = image_files.images_in(place, bad)
    if not files:
        suffixes = ", ".join(image_files.SUFFIXES)
        raise UsageError(f"{path} holds no images ({suffixes}){bad.passed_over_in(place)}.")
    return files, bad


def rows(path: str, feature_names: Sequence[str]) -> tuple[np.ndarray, list[int], list[str]]:
    """Reads the features of a CSV file, whose columns may have any order; ignores other columns.

    Args:
        path: The file.
        feature_names: The columns to read, in this order.

    Returns:
        float32 (n, features), with NaN for missing numbers; the line in which each row begins,
        counted from 1; and the names of the ignored columns.

    Raises:
        UsageError: If a column is missing, or a cell is not a number.
    """
    csv_rows = csv_files.numbered_rows(path)
    _, header = next(csv_rows)
    positions = _positions(path, header, feature_names)
    found, numbers, cells = [], [], Cells(path)
    for line, row in csv_rows:
        found.append([cells.number(row[at], line, header[at]) for at in positions])
        numbers.append(line)
    if cells.wrong:
        raise cells.error("The network was trained on numbers there.")
    for note in cells.notes:
        print(note)
    others = [name for at, name in enumerate(header) if at not in positions]
    return np.asarray(found, np.float32), numbers, others


def _positions(path: str, header: Sequence[str], feature_names: Sequence[str]) -> list[int]:
    """Returns the position of each feature."""
    missing = [name for name in feature_names if name not in header]
    if missing:
        raise UsageError(
            f"{path}, line 1: of the {len(feature_names)} features that the network was trained on "
            f"there is no column {', '.join(map(repr, missing[:5]))}"
            f"{', ...' if len(missing) > 5 else ''}; the columns are {', '.join(header[:20])}"
            f"{', ...' if len(header) > 20 else ''}."
        )
    for name in feature_names:
        if header.count(name) > 1:
            raise UsageError(
                f"{path}, line 1: {header.count(name)} columns have the name {name!r}."
            )
    return [header.index(name) for name in feature_names]
