"""Reads a folder of images with one sub-folder per class.

The layout is that of TFDS's folder builder. The builder decodes in TensorFlow, whose errors do not
name the broken file, so the files are read with Pillow instead.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from l2rw_tf.command_line.counting import some_of
from l2rw_tf.data import image_files, images, storage
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.data.image_files import Bad
from l2rw_tf.errors import UsageError

# The usual names of splits, in lower or upper case; earlier names take precedence.
_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "validation", "val", "valid"),
    "clean": ("clean",),
}


def can_read(dataset: str) -> bool:
    """Whether a name is that of a folder; "digits" is always the embedded data set."""
    return dataset != "digits" and os.path.isdir(os.path.expanduser(dataset))


def read(
    dataset: str,
    *,
    image_size: int | None = None,
    label_column: str = "",
    true_label_column: str = "",
    bad_files: str = "stop",
    **others: object,
) -> Source:
    """Reads a folder of images.

    Args:
        dataset: The folder. Its sub-folders are the classes, FOLDER/CLASS/IMAGE; or, as for TFDS's
            folder builder, the splits, FOLDER/train/CLASS/IMAGE and FOLDER/test/CLASS/IMAGE
            (or validation or val, if there is no test), and FOLDER/clean/CLASS/IMAGE, the trusted
            examples. Files without the name of an image, hidden files and copies of files in the
            same folder are ignored; images may lie deeper in a class's folder.
        image_size: Height and width that all images are scaled to; if None, all images must have
            the same size.
        label_column: Must be empty, as the names of the folders are the labels.
        true_label_column: Must be empty.
        bad_files: `"stop"` raises an error that lists unreadable images; `"skip"` leaves them out.
        **others: Ignored.

    Returns:
        The data set; classes and images are sorted by name, images are grey if all files are.

    Raises:
        UsageError: If there are no classes or images, images are unreadable (all are named) or
            differ in size, or a folder could be a class or a split.
    """
    # "label" was the default of label_column in earlier versions.
    for flag, name in (("label_column", label_column), ("true_label_column", true_label_column)):
        if name and (flag, name) != ("label_column", "label"):
            raise UsageError(
                f"{flag}={name}: {dataset} is a folder, whose labels are the names of its folders."
            )
    folder = pathlib.Path(os.path.expanduser(dataset))
    bad = Bad(folder)
    places = _places(folder, bad)
    files = {
        part: _files_of_classes(place, bad, at_least=2 if part == "train" else 1)
        for part, place in places.items()
    }
    class_names = tuple(files["train"])
    for part, of_part in files.items():
        _check_known(places[part], of_part, class_names)
    copies = [copy for of_part in files.values() for copy in _take_copies(of_part, bad)]
    everything = [
        file for part in files.values() for of_class in part.values() for file in of_class
    ]
    shape, notes = image_files.common_shape(everything, image_size, bad)
    parts = {
        part: _read(of_part, class_names, shape, image_size, bad) for part, of_part in files.items()
    }
    notes += [*_note_on_copies(copies), *_settled(bad, bad_files)]
    parts = {part: _without(examples, bad) for part, examples in parts.items()}
    notes += _notes_on_places(places, folder)
    if "clean" in parts:
        notes.append(f"trusted examples: the {len(parts['clean']):,} of {places['clean']}")
    for label, name in enumerate(class_names):
        if not (parts["train"].y == label).any():
            raise UsageError(f"{places['train'] / name} holds no image that can be read.")
    return Source(
        name=dataset,
        train=parts["train"],
        test=parts.get("test"),
        class_names=class_names,
        kind="image",
        trusted=parts["clean"].in_memory() if "clean" in parts else None,
        notes=tuple(notes),
        left_out=bad.reasons + bad.reasons_passed_over,
    )


def load_like(
    path: str, source: Source, image_size: int | None, bad_files: str = "stop"
) -> tuple[Examples, list[str], tuple[tuple[str, str], ...]]:
    """Reads a folder of CLASS/IMAGE with the classes and image shape of a data set.

    Args:
        path: The folder.
        source: The data set.
        image_size: See `read`.
        bad_files: See `read`.

    Returns:
        The examples, notes on files that were left out, and these files with the reasons.

    Raises:
        UsageError: If the data set does not have a class of the folder, or as in `read`.
    """
    folder = pathlib.Path(os.path.expanduser(path))
    bad = Bad(folder)
    files = _files_of_classes(folder, bad, at_least=1)
    _check_known(folder, files, source.class_names)
    copies = _take_copies(files, bad)
    everything = [file for of_class in files.values() for file in of_class]
    shape, _ = image_files.common_shape(everything, image_size, bad)
    if shape[:2] != source.input_shape[:2]:
        raise images.sizes_differ(
            f"the images of {source.name} and {path}", source.input_shape[:2], shape[:2]
        )
    read_in = _read(files, source.class_names, source.input_shape, image_size, bad)
    notes = [*_note_on_copies(copies), *_settled(bad, bad_files)]
    left_out = tuple(
        (f"{path}/{name.removeprefix('./')}", why)
        for name, why in bad.reasons + bad.reasons_passed_over
    )
    return _without(read_in, bad).in_memory(), notes, left_out


def _settled(bad: Bad, bad_files: str) -> list[str]:
    """Returns notes on the files that are not read, or raises an error for bad files."""
    notes = bad.settle(skip=bad_files == "skip")
    return notes + [f"{note} ({image_files.LEFT_OUT})" for note in bad.notes_on_passed_over]


def _take_copies(files: dict[str, list[pathlib.Path]], bad: Bad) -> list[str]:
    """Removes copies of files in the same folder from each class; returns their origins."""
    taken = []
    for name, of_class in files.items():
        copies = set(image_files.copies_among([file for file in of_class if file not in bad]))
        files[name] = [file for file in of_class if file not in copies]
        taken += [bad.origin(file) for file in sorted(copies)]
    return taken


def _note_on_copies(copies: Sequence[str]) -> list[str]:
    of = "a copy of a file" if len(copies) == 1 else "copies of files"
    return [f"{some_of(copies)}: {of} in the same folder, ignored"] if copies else []


def _places(folder: pathlib.Path, bad: Bad) -> dict[str, pathlib.Path]:
    """Returns where the splits are; without splits the folder itself is the training part.

    Raises:
        UsageError: If a folder could be a class or a split.
    """
    top = {entry: image_files.images_in(entry, bad) for entry in _folders_in(folder)}
    of_split = {
        split: [entry for name in names for entry in top if entry.name.lower() == name]
        for split, names in _SPLITS.items()
    }
    # A folder can be a split if it contains images in sub-folders only.
    below = {
        entry: {file.relative_to(entry).parts[0] for file in files if file.parent != entry}
        for entry, files in top.items()
        if files and all(file.parent != entry for file in files)
    }
    splits = {
        split: [entry for entry in entries if entry in below] for split, entries in of_split.items()
    }
    named = [entry for entries in of_split.values() for entry in entries]
    others = [entry for entry, files in top.items() if files and entry not in named]
    if splits["train"]:
        train = splits["train"][0]
        if others or len(splits["train"]) > 1:
            other = (others or splits["train"][1:])[0]
            raise _class_or_split(train, below[train], other)
        for entry in named:
            if top[entry] and entry not in below:
                raise UsageError(
                    f"{entry} contains images directly: next to {train} it must contain one folder "
                    "of images per class."
                )
        return {split: entries[0] for split, entries in splits.items() if entries}
    for entry in [*splits["test"], *splits["clean"]]:
        # Classes of other folders: the training part may have an unknown name.
        classes = {name for other in others for name in (other.name, *below.get(other, ()))}
        if same := below[entry] & classes:
            raise _class_or_split(entry, same, others[0])
    if of_split["train"] and not others:
        return {"train": of_split["train"][0]}
    return {"train": folder}


def _notes_on_places(places: Mapping[str, pathlib.Path], folder: pathlib.Path) -> list[str]:
    """Returns notes on the folder of the test part, and on unused folders."""
    notes = [f"test data: {places['test']}"] if "test" in places else []
    if places["train"] != folder:
        unused = set(_folders_in(folder)) - set(places.values())
        notes += [f"{entry} is not used" for entry in sorted(unused)]
    return notes


def _class_or_split(entry: pathlib.Path, classes: set[str], other: pathlib.Path) -> UsageError:
    return UsageError(
        f"{entry} could be a split with the classes {_some(sorted(classes))}, or a class beside "
        f"{other.name}: put all classes into {entry.parent / 'train'}, or rename one of the two."
    )


def _folders_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the sub-folders that are not ignored, sorted by name."""
    try:
        entries = sorted(
            entry
            for entry in folder.iterdir()
            if entry.is_dir() and not image_files.is_passed_over(entry.name)
        )
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error
    for entry in entries:
        if why := image_files.unusable_name(entry.name):
            raise UsageError(f"{image_files.shown(entry)}: {why}; rename the folder.")
    return entries


def _files_of_classes(
    folder: pathlib.Path, bad: Bad, at_least: int
) -> dict[str, list[pathlib.Path]]:
    """Returns the image files of each class, sorted by name.

    Raises:
        UsageError: If there are too few classes, a class without images, or images outside classes.
    """
    classes = _folders_in(folder)
    if len(classes) < at_least:
        raise UsageError(
            f"{folder} must contain one sub-folder of images per class, at least {at_least}, but "
            f"it has {len(classes)}"
            f"{': ' + classes[0].name if classes else ''}."
        )
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    if strays := [name for name in names if image_files.is_image_name(name)]:
        raise UsageError(
            f"{folder} contains images directly ({some_of(strays)}): it must contain one folder of "
            "images per class; move or remove them."
        )
    files = {}
    for entry in classes:
        files[entry.name] = image_files.images_in(entry, bad)
        if not files[entry.name]:
            raise UsageError(
                f"{entry} holds no images ({', '.join(image_files.SUFFIXES)})"
                f"{bad.passed_over_in(entry)}; remove the folder, or put the images of this class "
                "there."
            )
    return files


def _check_known(folder: pathlib.Path, files: Mapping[str, object], known: Sequence[str]) -> None:
    for name in files:
        if name not in known:
            raise UsageError(
                f"{folder / name}: there is no class {name!r} among the training images, only "
                f"{_some(known)}."
            )


def _read(
    files: dict[str, list[pathlib.Path]],
    class_names: Sequence[str],
    shape: tuple[int, ...],
    image_size: int | None,
    bad: Bad,
) -> Examples:
    """Reads the images of one split, class by class; images of bad files are black."""
    in_order = [file for of_class in files.values() for file in of_class]
    labels = [class_names.index(name) for name, of_class in files.items() for _ in of_class]
    x = storage.keep(
        _decoded(in_order, shape, image_size, bad), (len(in_order), *shape), bad.folder
    )
    return examples_from(x, np.asarray(labels), origins=[bad.origin(file) for file in in_order])


def _decoded(
    files: Sequence[pathlib.Path], shape: tuple[int, ...], image_size: int | None, bad: Bad
) -> Iterator[np.ndarray]:
    """Yields the images, each as a batch of one."""
    for file in files:
        pixels = np.zeros(shape, np.uint8)
        if file not in bad:
            with bad.noting(file), image_files.opened(file) as image:
                pixels = images.as_array(image, shape[-1], image_size)
        yield pixels[None]


def _without(examples: Examples, bad: Bad) -> Examples:
    """Returns the examples whose files are good, renumbered."""
    if not bad:
        return examples
    good = np.flatnonzero(~np.isin(examples.origins, [bad.origin(file) for file in bad.files]))
    some = examples.take(good)
    return examples_from(some.x, some.y, origins=some.origins)


def _some(names: Sequence[str]) -> str:
    """Returns the first ten names, separated by commas."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
