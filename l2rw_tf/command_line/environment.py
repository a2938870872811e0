"""Sets the environment variables that TensorFlow and Keras read, before they are imported."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from l2rw_tf.errors import UsageError


def prepare_tensorflow() -> None:
    """Sets the environment of TensorFlow and Keras, and imports them without log lines.

    Raises:
        UsageError: If another Keras backend is set.
    """
    backend = os.environ.get("KERAS_BACKEND", "")
    if backend not in ("", "tensorflow"):
        raise UsageError(
            f"KERAS_BACKEND={backend} cannot be used: set it to tensorflow or unset it."
        )
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        with _quiet_standard_error():
            import tensorflow  # noqa: F401


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """A scope that suppresses the output of C++ code, or prints it at the end if the scope fails.

    TensorFlow logs some lines when it is imported, regardless of TF_CPP_MIN_LOG_LEVEL.
    """
    with tempfile.TemporaryFile() as held_back:
        standard_error = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
