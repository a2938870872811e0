"""TensorBoard events of a training."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from l2rw_tf.runs.epoch_record import Row

_NO_SCALARS = ("method", "epoch", "phase", "step")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Callable[[Row], None]]:
    """Gives the function that writes the numbers of an epoch, for as long as the scope lasts.

    Args:
        path: The directory of the events.

    Raises:
        OSError: If they cannot be written.
    """

    def write(row: Row) -> None:
        with _named_errors(path), writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name not in _NO_SCALARS:
                    tf.summary.scalar(name, value)
            writer.flush()

    with _named_errors(path):
        writer = tf.summary.create_file_writer(str(path))
    try:
        yield write
    finally:
        # What is written is on the disk already, row by row.
        with contextlib.suppress(tf.errors.OpError):
            writer.close()


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """TensorFlow's error of a full disk is that of a full memory, and names no file."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = re.split(r"\n| \[Op:", str(error))[0].split("; ")[-1]
        raise OSError(errno.EIO, reason, str(path)) from error
