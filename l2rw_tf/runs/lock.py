"""A lock on a directory; the system releases it when the process that holds it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from l2rw_tf.errors import UsageError

# The file is never removed: otherwise two processes could each lock a file of this name.
NAME = ".lock"


@contextlib.contextmanager
def hold(directory: Path, patience_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock of a directory.

    Args:
        directory: A directory that exists.
        patience_seconds: How long to wait for another process.

    Raises:
        UsageError: If another process still holds the lock.
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
