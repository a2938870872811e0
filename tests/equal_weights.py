"""A weighting for tests: all weights equal, with which the update is that of plain Keras."""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.reweighting.weighting.weighting import Weighting


@keras.saving.register_keras_serializable(package="tests")
class Equal(Weighting):
    def weigh(self, u, losses, sample_weight):
        s = 1 if sample_weight is None else sample_weight
        return s * tf.ones_like(u) / tf.cast(tf.size(u), u.dtype)
