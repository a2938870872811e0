"""Keeps decoded images in memory if they fit, or else in a file that is read as needed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from l2rw_tf.errors import UsageError

# A run holds the images of a source, its own selection of them and TensorFlow's copy of that.
_COPIES = 4


class _OpenFile:
    """A file that is closed when its last view is deleted."""

    def __init__(self, file: IO[bytes]) -> None:
        self.descriptor = os.dup(file.fileno())

    def __del__(self) -> None:
        os.close(self.descriptor)


class StoredImages:
    """Images in a file, read when they are indexed; can be used like an array of images.

    Attributes:
        shape: (n, height, width, channels).
        dtype: uint8.
        ndim: 4.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, file: _OpenFile, shape: tuple[int, int, int], positions: np.ndarray) -> None:
        """Creates a view of some images of a file.

        Args:
            file: Holds the bytes of all images, one after the other.
            shape: (height, width, channels) of each image.
            positions: (n,) int64, the positions of these images in the file.
        """
        self._file = file
        self._positions = positions
        self.shape = (len(positions), *shape)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._positions)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Reads images: one, a slice or an array of positions, as NumPy indexes the first axis."""
        # Not a memory-mapped file, whose pages would count as memory of the process.
        positions = self._positions[index]
        images = np.empty((*positions.shape, *self.shape[1:]), np.uint8)
        for image, position in zip(
            images.reshape(-1, *self.shape[1:]), positions.flat, strict=True
        ):
            os.preadv(self._file.descriptor, [image.data], int(position) * image.nbytes)
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads all images into memory."""
        return np.asarray(self[:], dtype)

    def take(self, positions: np.ndarray) -> StoredImages:
        """Returns a view of some of these images; reads nothing.

        Args:
            positions: (m,) int64.
        """
        return StoredImages(self._file, self.shape[1:], self._positions[positions])


def memory_size() -> int:
    """Returns the memory of the machine, or the limit of this process, in bytes."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        allowed, _ = resource.getrlimit(limit)
        size = size if allowed == resource.RLIM_INFINITY else min(size, allowed)
    for limit in _limits_of_groups():
        with contextlib.suppress(OSError):
            text = limit.read_text().strip()
            size = min(size, int(text)) if text.isdigit() else size
    return size


def _limits_of_groups() -> Iterator[pathlib.Path]:
    """Yields the files that limit the memory of the control groups of this process."""
    groups = [":memory:/", "::/"]
    with contextlib.suppress(OSError):
        groups += pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    for group in groups:
        _, kinds, path = group.split(":", 2)
        v1 = "memory" in kinds.split(",")
        if v1 or not kinds:
            root = pathlib.Path("/sys/fs/cgroup/memory" if v1 else "/sys/fs/cgroup")
            inner = root / path.strip("/")
            # Groups are nested, and each may have a limit.
            for place in (inner, *inner.parents):
                if place.is_relative_to(root):
                    yield place / ("memory.limit_in_bytes" if v1 else "memory.max")


def can_write(directory: pathlib.Path) -> bool:
    """Returns whether files can be created in a directory that may not exist yet.

    Args:
        directory: The directory.
    """
    while not directory.exists():
        directory = directory.parent
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def keep(
    batches: Iterable[np.ndarray], shape: tuple[int, int, int, int], directory: pathlib.Path
) -> np.ndarray | StoredImages:
    """Keeps decoded images for the rest of the process.

    Args:
        batches: The images in order, uint8 arrays (any number, height, width, channels).
        shape: (n, height, width, channels) of all of them together.
        directory: Directory of the file if the images do not fit in memory (the system's temporary
            directory, if this one is not writable). The file has no name, so that it is deleted
            when the process ends in any way.

    Returns:
        An array of that shape, or a `StoredImages` that is indexed like one.

    Raises:
        UsageError: If the disk is full.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if size * _COPIES <= memory_size():
        images = np.empty(shape, np.uint8)
        position = 0
        for batch in batches:
            images[position : position + len(batch)] = batch
            position += len(batch)
        return images
    if not can_write(directory):
        directory = pathlib.Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(prefix="l2rw_images_", dir=directory) as file:
            for batch in batches:
                file.write(np.ascontiguousarray(batch, np.uint8).data)
            file.flush()
            kept = _OpenFile(file)
    except OSError as error:
        raise UsageError(
            f"the images, decoded, take {size / 2**30:.1f} GiB, more than fits in memory, and they "
            f"cannot be kept in {directory}: {error.strerror}; make room there, or scale the "
            "images down with image_size."
        ) from error
    return StoredImages(kept, shape[1:], np.arange(shape[0]))
