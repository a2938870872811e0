"""A lock on a directory, which the system frees when the process that holds it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from l2rw_tf.errors import UsageError

# Stays in the directory: removing it would let two processes hold two files of this name.
NAME = ".lock"


@contextlib.contextmanager
def hold(directory: Path, patience_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock of a directory.

    Args:
        directory: A directory that exists.
        patience_seconds: How long another process is waited for.

    Raises:
        UsageError: If another process holds it.
        OSError: If the directory cannot be written to.
    """
    lock = filelock.FileLock(directory / NAME, timeout=patience_seconds)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise UsageError(
            f"{directory} is in use by another process: wait for it to end, or name another "
            "directory."
        ) from error
    try:
        yield
    finally:
        lock.release()
