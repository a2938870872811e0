"""Finds the image files in a folder, their common shape, and the files that cannot be used."""

from __future__ import annotations

import collections
import contextlib
import filecmp
import os
import pathlib
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from l2rw_tf.command_line.counting import counted, some_of
from l2rw_tf.data import images
from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")
# Folders in which programs keep copies and thumbnails, in addition to hidden ones.
_OF_PROGRAMS = ("__MACOSX", "@eaDir")
# The EXIF orientations that swap height and width.
_ON_ITS_SIDE = (5, 6, 7, 8)
_ORIENTATION = 0x0112
LEFT_OUT = "left_out.csv"
_LISTED = 100
_ENDINGS = 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What follows the name of a file in that of its copy: "cat copy.jpg", "cat (1).jpg", "cat-1.jpg".
_AFTER_NAME = re.compile(r"[ _(-]")


class Bad:
    """The files that cannot be used, and why.

    Attributes:
        folder: The folder that origins are relative to.
        files: The reason for each file.
        passed_over: The files that are ignored because of their names.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts with no files."""
        self.folder = folder
        self.files: dict[pathlib.Path, str] = {}
        self.passed_over: set[pathlib.Path] = set()

    def __contains__(self, file: pathlib.Path) -> bool:
        """Returns whether a file cannot be used."""
        return file in self.files

    def __bool__(self) -> bool:
        """Returns whether there are files that cannot be used."""
        return bool(self.files)

    def origin(self, file: pathlib.Path) -> str:
        """Returns the file's path relative to the folder, as origins are written."""
        return f"./{file.relative_to(self.folder).as_posix()}"

    @contextlib.contextmanager
    def noting(self, file: pathlib.Path) -> Iterator[None]:
        """A scope that records errors as those of a file instead of raising them."""
        from PIL import UnidentifiedImageError

        try:
            with warnings.catch_warnings():
                # Pillow warns of images that it can read: large ones, odd metadata.
                warnings.simplefilter("ignore")
                yield
        except UnidentifiedImageError:
            empty = file.stat().st_size == 0
            self.files[file] = "the file is empty" if empty else "it is not an image"
        except MemoryError:
            raise
        except Exception as error:
            lines = str(error).splitlines()
            self.files[file] = (lines[0] if lines else type(error).__name__).rstrip(".")

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """The printable origin of each file, and why it cannot be used."""
        return tuple((shown(self.origin(file)), why) for file, why in sorted(self.files.items()))

    @property
    def reasons_passed_over(self) -> tuple[tuple[str, str], ...]:
        """The printable origin of each ignored file, and why it is ignored."""
        why = "its name is not that of an image"
        return tuple((shown(self.origin(file)), why) for file in sorted(self.passed_over))

    @property
    def notes_on_passed_over(self) -> list[str]:
        """A note on the number of ignored files by file extension."""
        if not self.passed_over:
            return []
        files = counted(len(self.passed_over), "file")
        return [f"{files} of {self.folder} ignored: {_endings(self.passed_over)}"]

    def passed_over_in(self, folder: pathlib.Path) -> str:
        """Returns which files of a folder are ignored, as text; empty if there are none."""
        files = [file for file in self.passed_over if file.is_relative_to(folder)]
        return f"; its files are not images: {_endings(files)}" if files else ""

    def settle(self, skip: bool) -> list[str]:
        """Raises one error for all bad files, or returns a note that they are left out.

        Args:
            skip: Whether to leave them out.

        Returns:
            A note on the files left out.

        Raises:
            UsageError: If there are bad files and `skip` is False.
        """
        if not self.files:
            return []
        if skip:
            names = [f"{name} ({why})" for name, why in self.reasons]
            return [
                f"{counted(len(names), 'file')} of {self.folder} left out: "
                f"{some_of(names)} ({LEFT_OUT})"
            ]
        files = sorted(self.files.items())
        if len(self.files) == 1:
            ((file, why),) = files
            raise UsageError(
                f"{shown(file)} cannot be read as an image: {why}; repair or remove the file, or "
                "leave it out with --bad_files=skip."
            )
        lines = [f"  {shown(file)}: {why}" for file, why in files]
        more = [f"  and {len(lines) - _LISTED:,} more"] if len(lines) > _LISTED else []
        raise UsageError(
            "\n".join(
                [
                    f"{len(lines):,} files of {self.folder} cannot be read as images: repair or "
                    "remove them, or leave them out with --bad_files=skip.",
                    *lines[:_LISTED],
                    *more,
                ]
            )
        )


def _endings(files: Collection[pathlib.Path]) -> str:
    """Returns the number of files with each file extension, as text."""
    counts = collections.Counter(
        "hidden" if is_passed_over(file.name) else shown(file.suffix.lower()) or "no extension"
        for file in sorted(files)
    )
    some = ", ".join(f"{ending} {count:,}" for ending, count in counts.most_common(_ENDINGS))
    return some + (", ..." if len(counts) > _ENDINGS else "")


def is_passed_over(name: str) -> bool:
    """Returns whether a folder or file is hidden, or made by a program."""
    return name.startswith(".") or name in _OF_PROGRAMS


def is_image_name(name: str) -> bool:
    """Returns whether a file name is that of an image."""
    return name.lower().endswith(SUFFIXES) and not is_passed_over(name)


def unusable_name(name: str) -> str:
    """Returns why a name cannot be written into text files; empty if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not text in UTF-8"
    return "its name holds control characters" if _CONTROL.search(name) else ""


def shown(path: pathlib.Path | str) -> str:
    """Returns a path as printable text in one line, whatever its bytes are."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def images_in(folder: pathlib.Path, bad: Bad) -> list[pathlib.Path]:
    """Returns the image files in a folder and below, sorted; ignores hidden ones.

    Args:
        folder: The folder.
        bad: Collects files whose names or locations cannot be used.

    Raises:
        UsageError: If a folder cannot be read, or is a link.
    """

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error

    if _leads_outside(folder, bad.folder):
        raise UsageError(
            f"{folder} is a link that leads outside of {bad.folder}: copy it there (trusted "
            "examples may be elsewhere: --clean_data)."
        )
    files = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not is_passed_over(name)]
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                raise UsageError(f"{os.path.join(place, name)} is a link to a folder: copy it.")
        for name in names:
            file = pathlib.Path(place, name)
            if not is_image_name(name):
                bad.passed_over.add(file)
                continue
            if why := unusable_name(str(file.relative_to(bad.folder))):
                bad.files[file] = why
            elif file.is_symlink() and not file.exists():
                bad.files[file] = "it is a broken link"
            elif _leads_outside(file, bad.folder):
                bad.files[file] = f"it is a link that leads outside of {bad.folder}"
            elif not file.is_file():
                continue
            files.append(file)
    return sorted(files)


def copies_among(files: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files that are copies of another file in the same folder.

    A copy has the same bytes as the other file, and its name begins with the other's name.

    Args:
        files: The files of some folders.
    """
    there, copies = set(files), []
    for file in files:
        ends = [found.start() for found in _AFTER_NAME.finditer(file.stem)]
        names = {file.stem[:end].rstrip(" _(-") for end in ends} - {""}
        originals = [file.with_name(f"{name}{file.suffix}") for name in names]
        if any(one in there and filecmp.cmp(one, file, shallow=False) for one in originals):
            copies.append(file)
    return copies


def _leads_outside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def opened(file: pathlib.Path) -> PIL.Image.Image:
    """Opens an image file; its pixels are not decoded yet."""
    from PIL import Image

    return Image.open(file)


def common_shape(
    files: Sequence[pathlib.Path], image_size: int | None, bad: Bad
) -> tuple[tuple[int, int, int], list[str]]:
    """Returns (height, width, channels) of all images, and notes; reads file headers only.

    Args:
        files: The files; bad ones are ignored.
        image_size: Height and width that the images are scaled to, or None.
        bad: Collects files that are not images.

    Raises:
        UsageError: If the images differ in size and `image_size` is None.
    """
    colour: dict[bool, list[pathlib.Path]] = {True: [], False: []}
    first, size = None, None
    for file in files:
        if file in bad:
            continue
        with bad.noting(file), opened(file) as image:
            height_width = (image.height, image.width)
            if _orientation(image) in _ON_ITS_SIDE:
                height_width = height_width[::-1]
            if size is None:
                first, size = file, height_width
            colour[image.mode not in _GREY_MODES].append(file)
        if file not in bad and image_size is None and height_width != size:
            raise images.sizes_differ(f"the images {first} and {file}", size, height_width)
    if size is None:
        bad.settle(skip=False)
        raise UsageError(f"{bad.folder} holds no image that can be read.")
    shape = (image_size, image_size) if image_size else size
    return (*shape, 3 if colour[True] else 1), _notes_on_colour(colour[True], colour[False], bad)


def _notes_on_colour(
    in_colour: Sequence[pathlib.Path], grey: Sequence[pathlib.Path], bad: Bad
) -> list[str]:
    """Returns a note if only some images are grey."""
    if not in_colour or not grey:
        return []
    fewer = min(in_colour, grey, key=len)
    kinds = {"in colour": in_colour, "grey": grey}
    counts = [
        f"{kind} {len(files):,}"
        + (f" ({some_of([shown(bad.origin(file)) for file in files])})" if files is fewer else "")
        for kind, files in kinds.items()
    ]
    return [f"images {', '.join(counts)}: all are read in colour"]


def _orientation(image: PIL.Image.Image) -> int:
    """Returns the orientation that EXIF gives an image."""
    # Pillow would read the whole PNG file to find it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(_ORIENTATION, 1)
