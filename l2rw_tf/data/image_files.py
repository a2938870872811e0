"""Image files below a folder: which there are, which cannot be used, and what they are like."""

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
# Where other programs keep copies and thumbnails, beside what begins with a dot.
_OF_PROGRAMS = ("__MACOSX", "@eaDir")
# The orientations of EXIF under which height and width change places.
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
        folder: What origins are relative to.
        files: The reason for each file.
        passed_over: The files that are not taken for images, by their names.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts with none."""
        self.folder = folder
        self.files: dict[pathlib.Path, str] = {}
        self.passed_over: set[pathlib.Path] = set()

    def __contains__(self, file: pathlib.Path) -> bool:
        """Whether a file is one of them."""
        return file in self.files

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.files)

    def origin(self, file: pathlib.Path) -> str:
        """Returns the file's path relative to the folder, as origins are written."""
        return f"./{file.relative_to(self.folder).as_posix()}"

    @contextlib.contextmanager
    def noting(self, file: pathlib.Path) -> Iterator[None]:
        """A scope whose failures are those of a file; they are noted, and nothing is raised."""
        from PIL import UnidentifiedImageError

        try:
            with warnings.catch_warnings():
                # Pillow's, of what it can read all the same: large images, odd metadata.
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
        """The origin of each file, as it can be printed, and why it cannot be used."""
        return tuple((shown(self.origin(file)), why) for file, why in sorted(self.files.items()))

    @property
    def reasons_passed_over(self) -> tuple[tuple[str, str], ...]:
        """The same of the files that are passed over."""
        why = "its name is not that of an image"
        return tuple((shown(self.origin(file)), why) for file in sorted(self.passed_over))

    @property
    def notes_on_passed_over(self) -> list[str]:
        """Says how many files are passed over, by their endings."""
        if not self.passed_over:
            return []
        files = counted(len(self.passed_over), "file")
        return [f"{files} of {self.folder} passed over: {_endings(self.passed_over)}"]

    def passed_over_in(self, folder: pathlib.Path) -> str:
        """Says which files of a folder are passed over; empty if there are none."""
        files = [file for file in self.passed_over if file.is_relative_to(folder)]
        return f"; what it holds is none: {_endings(files)}" if files else ""

    def settle(self, skip: bool) -> list[str]:
        """Refuses bad files, all of them together, or says that they are left out.

        Args:
            skip: Leaves them out.

        Returns:
            A note on what is left out.

        Raises:
            UsageError: There are some, and they are not to be left out.
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
                "leave it out by --bad_files=skip."
            )
        lines = [f"  {shown(file)}: {why}" for file, why in files]
        more = [f"  and {len(lines) - _LISTED:,} more"] if len(lines) > _LISTED else []
        raise UsageError(
            "\n".join(
                [
                    f"{len(lines):,} files of {self.folder} cannot be read as images: repair or "
                    "remove them, or leave them out by --bad_files=skip.",
                    *lines[:_LISTED],
                    *more,
                ]
            )
        )


def _endings(files: Collection[pathlib.Path]) -> str:
    """Returns how many files there are of each ending, in words."""
    counts = collections.Counter(
        "hidden" if is_passed_over(file.name) else shown(file.suffix.lower()) or "without an ending"
        for file in sorted(files)
    )
    some = ", ".join(f"{ending} {count:,}" for ending, count in counts.most_common(_ENDINGS))
    return some + (", ..." if len(counts) > _ENDINGS else "")


def is_passed_over(name: str) -> bool:
    """Whether a folder or file of this name is none of the user's own."""
    return name.startswith(".") or name in _OF_PROGRAMS


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return name.lower().endswith(SUFFIXES) and not is_passed_over(name)


def unusable_name(name: str) -> str:
    """Returns why a name cannot be written into text files; empty if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not text in UTF-8"
    return "its name holds control characters" if _CONTROL.search(name) else ""


def shown(path: pathlib.Path | str) -> str:
    """Returns a path as it can be printed in a line, whatever its bytes are."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def images_in(folder: pathlib.Path, bad: Bad) -> list[pathlib.Path]:
    """Returns the image files in a folder and below, sorted; hidden ones are passed over.

    Args:
        folder: The folder.
        bad: Takes those whose names or places cannot be used.

    Raises:
        UsageError: A folder cannot be read, or is a link to somewhere else.
    """

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error

    if _leads_outside(folder, bad.folder):
        raise UsageError(f"{folder} is a link that leads outside of {bad.folder}: copy it there.")
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
                bad.files[file] = "it is a link that leads nowhere"
            elif _leads_outside(file, bad.folder):
                bad.files[file] = f"it is a link that leads outside of {bad.folder}"
            elif not file.is_file():
                continue
            files.append(file)
    return sorted(files)


def copies_among(files: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the copies that lie beside what they are copies of.

    A copy has the bytes of a file in the same folder, whose name is the beginning of its own.

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
    """Returns (height, width, channels) of all images, and notes; looks at files' heads only.

    Args:
        files: The files; bad ones have no say.
        image_size: Height and width that they are scaled to, or None.
        bad: Takes those that are no images.

    Raises:
        UsageError: The images differ in size, and no size is given.
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
    """Says that some images are unlike the others."""
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
    # Pillow reads a whole PNG file in search of it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(_ORIENTATION, 1)
