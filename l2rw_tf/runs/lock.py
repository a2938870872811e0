"""A lock on a directory for as long as the process lives that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from l2rw_tf.errors import UsageError

NAME = ".lock"


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Holds the lock of a directory; the system gives it up when the process ends, however it does.

    Args:
        directory: A directory that exists.

    Raises:
        UsageError: If a living process holds it, which is named.
        OSError: If the directory cannot be written to.
    """
    path = directory / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _take(descriptor) or not _is(path, descriptor):
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            raise UsageError(
                f"{directory} is in use by {holder or 'another process'}: wait for it to end, or "
                "name another directory."
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened is still the one of that name: its holder removes it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
