"""The methods that a run can train with: each a composition of a few parts.

TensorFlow is not imported here before a part is used, so that the settings can list the names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from l2rw_tf.experiment.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained.

    Attributes:
        title: What tables and figures call it.
        uses_clean_data: Whether `fit` is given the clean data.
        trainable_model: Makes of the network the model whose `fit` trains it; both share their
            variables.
    """

    title: str
    uses_clean_data: bool
    trainable_model: Callable[[keras.Model, RunConfig], keras.Model]


def _reweighting(network: keras.Model, config: RunConfig) -> keras.Model:
    from l2rw_tf import ReweightingModel

    return ReweightingModel(
        network, meta_variables=config.meta_variables, meta_gradient=config.meta_gradient
    )


def _as_it_is(network: keras.Model, config: RunConfig) -> keras.Model:
    return network


METHODS = {
    "l2rw": Method("reweighted", True, _reweighting),
    "plain": Method("plain", False, _as_it_is),
}
