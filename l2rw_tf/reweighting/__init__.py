"""The heart: the meta-gradient, the weights and the model that trains with them.

Section numbers in the docstrings are those of the paper (arXiv 1803.09050). The package knows Keras
and nothing of data sets, flags or files.
"""

from __future__ import annotations

import os
import sys

from l2rw_tf.errors import UsageError


def _require_tensorflow() -> None:
    """Refuses any other Keras backend before Keras fails on it in a less helpful way."""
    backend = os.environ.get("KERAS_BACKEND", "")
    if "keras" in sys.modules or not backend:
        import keras

        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UsageError(
            f"l2rw_tf needs Keras on the TensorFlow backend, but KERAS_BACKEND selects "
            f"{backend!r}: "
            "set KERAS_BACKEND=tensorflow before Keras is imported."
        )


_require_tensorflow()
