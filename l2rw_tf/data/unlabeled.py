"""Inputs without labels, as a finished run's network takes them: image files and rows of tables."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from l2rw_tf.data import csv_files, images
from l2rw_tf.data.image_files import SUFFIXES
from l2rw_tf.errors import UsageError


def image_files(path: str) -> list[pathlib.Path]:
    """Returns the image files that a path stands for, in the order of their names.

    Args:
        path: A folder, whose images may lie at any depth and where names that begin with a dot are
            passed over; or one file.

    Raises:
        UsageError: There is nothing of that name, or a folder holds no images.
    """
    place = pathlib.Path(os.path.expanduser(path))
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UsageError(f"{path}: there is no such folder or file.")
    files = []
    for parent, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name[0] != "."]
        files += [
            pathlib.Path(parent, name)
            for name in names
            if name[0] != "." and name.lower().endswith(SUFFIXES)
        ]
    if not files:
        raise UsageError(f"{path} holds no images ({', '.join(SUFFIXES)}).")
    return sorted(files)


def image(file: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Reads an image, as the reader of folders does.

    Args:
        file: The file.
        shape: (height, width, channels) to bring it to.

    Returns:
        uint8 (height, width, channels).

    Raises:
        UsageError: It is no image, or a damaged one.
    """
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    try:
        with Image.open(file) as opened:
            return images.as_array(opened, channels, (height, width))
    except UnidentifiedImageError as error:
        why = "it is not an image" if file.stat().st_size else "the file is empty"
        raise UsageError(f"{file} cannot be read: {why}.") from error
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UsageError(f"{file} cannot be read as an image: {lines[0].rstrip('.')}.") from error


def rows(path: str, feature_names: Sequence[str]) -> tuple[np.ndarray, list[int], list[str]]:
    """Reads the features of a CSV file; there may be other columns, and any order.

    Args:
        path: The file.
        feature_names: The columns wanted, in the order wanted.

    Returns:
        float32 (n, features); for each row the line of the file that it begins in, counted from 1;
        and the names of the columns that were passed over.

    Raises:
        UsageError: A column is missing, or a cell is no number.
    """
    csv_rows = csv_files.numbered_rows(path)
    _, header = next(csv_rows)
    positions = _positions(path, header, feature_names)
    found, numbers = [], []
    for line, row in csv_rows:
        place = f"{path}, line {line}"
        found.append([csv_files.number(row[at], place, header[at]) for at in positions])
        numbers.append(line)
    others = [name for at, name in enumerate(header) if at not in positions]
    return np.asarray(found, np.float32), numbers, others


def _positions(path: str, header: Sequence[str], feature_names: Sequence[str]) -> list[int]:
    """Returns where each feature stands; of columns of one name the first goes to the first."""
    left: dict[str, list[int]] = {}
    for at, name in enumerate(header):
        left.setdefault(name, []).append(at)
    missing = [name for name in feature_names if name not in left]
    if missing:
        raise UsageError(
            f"{path}, line 1: of the {len(feature_names)} features that the network was trained on "
            f"there is no column {', '.join(map(repr, missing[:5]))}"
            f"{', ...' if len(missing) > 5 else ''}; the columns are {', '.join(header[:20])}"
            f"{', ...' if len(header) > 20 else ''}."
        )
    wanted = {name: feature_names.count(name) for name in feature_names}
    for name, number in wanted.items():
        if len(left[name]) != number:
            raise UsageError(
                f"{path}, line 1: {len(left[name])} columns have the name {name!r}, but there were "
                f"{number} in training."
            )
    return [left[name].pop(0) for name in feature_names]
