"""The paper's weights: line 11 of Algorithm 1."""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.reweighting.weighting.weighting import Weighting
from l2rw_tf.reweighting.weights import normalize


@keras.saving.register_keras_serializable(package="l2rw_tf")
class PaperWeighting(Weighting):
    """w̃_i = s_i max(u_i, 0), w_i = w̃_i / Σ_k w̃_k (equations 8 and 9), for each batch alone."""

    def weigh(self, u: tf.Tensor, losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
        """Returns the weights of a batch; see `Weighting.weigh`."""
        return normalize(u, sample_weight)


WEIGHTING = PaperWeighting
