"""Step 3 of the method: from the meta-gradient to the example weights.

To add a weighting, add a file here that defines `WEIGHTING`, a subclass of `weighting.Weighting`,
and one line below. The name of the weighting is that of the file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    from l2rw_tf.reweighting.weighting.weighting import Weighting

# Descriptions for `--help`, which must not import TensorFlow or Keras.
WEIGHTINGS = {
    "paper": "by each batch's meta-gradient alone",
    "meta_weight_net": "by a small network of the loss, trained with u (Shu et al. 2019)",
}


def get(weighting: str | Weighting) -> Weighting:
    """Returns the weighting for an argument of `ReweightingModel`.

    Args:
        weighting: A name, or a weighting, which is returned unchanged.

    Raises:
        UsageError: If it is neither.
    """
    if not isinstance(weighting, str):
        if not hasattr(weighting, "weigh") or not hasattr(weighting, "learn"):
            raise UsageError(
                f"weighting must be {' or '.join(map(repr, WEIGHTINGS))} or a Weighting, got "
                f"{weighting!r}."
            )
        return weighting
    if weighting not in WEIGHTINGS:
        raise UsageError(
            f"weighting must be {' or '.join(map(repr, WEIGHTINGS))}, got {weighting!r}."
        )
    return importlib.import_module(f"{__name__}.{weighting}").WEIGHTING(name=weighting)
