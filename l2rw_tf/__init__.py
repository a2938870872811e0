"""Learning to reweight examples for robust deep learning, in TensorFlow and Keras 3.

Ren, Zeng, Yang and Urtasun, ICML 2018, arXiv 1803.09050. The names below are loaded on first use,
so that `import l2rw_tf` is fast:

- `ReweightingModel`: a `keras.Model` around any network, trained by `fit(..., clean_data=...)`.
- `meta_gradient`: computes the signed u of one batch, for custom training loops.
- `normalize`: turns u into the example weights w.
- `label_quality`: scores every label from `model.example_record()`; suspect labels are near 0.
- `number_examples`: adds ids to the examples of a data set, so that `fit` can track each.
- `UsageError`, `TrainingDiverged`: the package's own exceptions.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    from l2rw_tf.errors import TrainingDiverged
    from l2rw_tf.quality import label_quality
    from l2rw_tf.reweighting.feeding.batches import number_examples
    from l2rw_tf.reweighting.meta_gradient import meta_gradient
    from l2rw_tf.reweighting.model import ReweightingModel
    from l2rw_tf.reweighting.weights import normalize

__version__ = "1.0.0"

_HOMES = {
    "ReweightingModel": "l2rw_tf.reweighting.model",
    "TrainingDiverged": "l2rw_tf.errors",
    "label_quality": "l2rw_tf.quality",
    "meta_gradient": "l2rw_tf.reweighting.meta_gradient",
    "normalize": "l2rw_tf.reweighting.weights",
    "number_examples": "l2rw_tf.reweighting.feeding.batches",
}

__all__ = [
    "ReweightingModel",
    "TrainingDiverged",
    "UsageError",
    "__version__",
    "label_quality",
    "meta_gradient",
    "normalize",
    "number_examples",
]


# Type checkers see the imports above instead, and report any other name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Loads a public name when it is first used (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'l2rw_tf' has no attribute {name!r}")
        if _HOMES[name].startswith("l2rw_tf.reweighting"):
            _require_tensorflow()
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__


def _require_tensorflow() -> None:
    """Refuses other Keras backends, with a clearer message than that of a failing import."""
    backend = os.environ.get("KERAS_BACKEND", "")
    if "keras" in sys.modules or not backend:
        # Without the variable, ~/.keras/keras.json decides; its backend may not be installed.
        try:
            import keras

            backend = keras.backend.backend()
        except ModuleNotFoundError as error:
            backend = error.name or ""
    if backend != "tensorflow":
        raise UsageError(
            f"l2rw_tf needs Keras on the TensorFlow backend, got {backend!r}: set the environment "
            "variable KERAS_BACKEND=tensorflow before Keras is imported (without it, "
            "~/.keras/keras.json decides)."
        )
