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
    """Opens an event writer and yields a function that writes the row of an epoch.

    Args:
        path: The directory of the events.

    Raises:
        OSError: If the events cannot be written.
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
        # Each row has been flushed already.
        with contextlib.suppress(tf.errors.OpError):
            writer.close()


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Replaces TensorFlow's error, which does not name the file, by an `OSError` that does."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = re.split(r"\n| \[Op:", str(error))[0].split("; ")[-1]
        raise OSError(errno.EIO, reason, str(path)) from error
