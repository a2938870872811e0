"""A folder of images, with a sub-folder for each class.

TFDS's own folder builder decodes inside TensorFlow, where a broken image has lost its name; so its
layout is kept, and the files are read with Pillow.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from l2rw_tf.data import images, storage
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.errors import UsageError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_TEST_NAMES = ("test", "validation", "val")
_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")


def can_read(dataset: str) -> bool:
    """Whether a name is that of a folder; "digits" is always the embedded data set."""
    return dataset != "digits" and os.path.isdir(os.path.expanduser(dataset))


def read(dataset: str, *, image_size: int | None = None, **others: object) -> Source:
    """Reads a folder of images.

    Args:
        dataset: The folder. Its sub-folders are the classes, FOLDER/CLASS/IMAGE; or, as for TFDS's
            folder builder, the splits, FOLDER/train/CLASS/IMAGE and FOLDER/test/CLASS/IMAGE
            (without test, validation or val is taken for it). Other files, and names that begin
            with a dot, are passed over; images may lie deeper in a class's folder.
        image_size: Height and width that all images are scaled to; None leaves them as they are,
            and then they must be of one size.
        **others: Not looked at.

    Returns:
        The data set; classes and images in the order of their names, images grey where all are.

    Raises:
        UsageError: No classes or images, an unreadable image (named), or images of several sizes.
    """
    folder = pathlib.Path(os.path.expanduser(dataset))
    folders = {"train": folder}
    if (folder / "train").is_dir():
        tests = [folder / name for name in _TEST_NAMES if (folder / name).is_dir()]
        folders = {"train": folder / "train"} | ({"test": tests[0]} if tests else {})
    files = {split: _files_of_classes(place) for split, place in folders.items()}
    class_names = tuple(files["train"])
    for name in files.get("test", {}):
        if name not in class_names:
            raise UsageError(
                f"{folders['test'] / name}: there is no class {name!r} among the training images, "
                f"only {_some(class_names)}."
            )
    everything = [
        file for split in files.values() for of_class in split.values() for file in of_class
    ]
    shape = _common_shape(everything, image_size)
    parts = {
        split: _read(of_split, class_names, shape, image_size, folder)
        for split, of_split in files.items()
    }
    return Source(
        name=dataset,
        train=parts["train"],
        test=parts.get("test"),
        class_names=class_names,
        kind="image",
    )


def _files_of_classes(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the image files of each class, sorted by name."""
    try:
        classes = sorted(
            entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
        )
        if len(classes) < 2:
            raise UsageError(
                f"{folder} must hold a sub-folder of images for each of at least 2 classes, it has "
                f"{len(classes)}{': ' + classes[0].name if classes else ''}."
            )
        return {entry.name: _images_in(entry) for entry in classes}
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the image files of one class; none are an error before the next class is read."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.name[0] != "." and file.is_file()
    )
    if not files:
        raise UsageError(
            f"{folder} holds no images ({', '.join(SUFFIXES)}); remove the folder, or put the "
            "images of this class there."
        )
    return files


def _open(file: pathlib.Path) -> Any:
    from PIL import Image

    try:
        return Image.open(file)
    except Exception as error:
        raise _unreadable(file, error) from error


def _unreadable(file: pathlib.Path, error: Exception) -> UsageError:
    from PIL import UnidentifiedImageError

    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        why = "the file is empty" if file.stat().st_size == 0 else "it is not an image"
    return UsageError(f"{file} cannot be read as an image: {why}; repair or remove the file.")


def _common_shape(files: Sequence[pathlib.Path], image_size: int | None) -> tuple[int, int, int]:
    """Returns (height, width, channels) of all images; looks at the files' heads only."""
    grey, size = True, None
    for file in files:
        with _open(file) as image:
            grey = grey and image.mode in _GREY_MODES
            height_width = (image.height, image.width)
        size = size or height_width
        if image_size is None and height_width != size:
            raise images.sizes_differ(f"the images {files[0]} and {file}", size, height_width)
    return (*((image_size, image_size) if image_size else size), 1 if grey else 3)


def _read(
    files: dict[str, list[pathlib.Path]],
    class_names: Sequence[str],
    shape: tuple[int, int, int],
    image_size: int | None,
    folder: pathlib.Path,
) -> Examples:
    in_order = [file for of_class in files.values() for file in of_class]
    labels = [class_names.index(name) for name, of_class in files.items() for _ in of_class]
    x = storage.keep(_decoded(in_order, shape[-1], image_size), (len(in_order), *shape), folder)
    return examples_from(x, np.asarray(labels))


def _decoded(
    files: Sequence[pathlib.Path], channels: int, image_size: int | None
) -> Iterator[np.ndarray]:
    for file in files:
        with _open(file) as image:
            try:
                yield images.as_array(image, channels, image_size)[None]
            except Exception as error:
                raise _unreadable(file, error) from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
