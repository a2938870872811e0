"""The method of the paper: weights examples by their effect on the clean loss.

Ren, Zeng, Yang and Urtasun, "Learning to reweight examples for robust deep learning", ICML 2018,
arXiv 1803.09050. It needs clean data in addition to the training data. It is implemented in
`l2rw_tf/reweighting/`.
"""

from __future__ import annotations

import keras

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.model import ReweightingModel


def _model(network: keras.Model, settings: MethodSettings, data: PreparedData) -> keras.Model:
    return ReweightingModel(
        network,
        meta_variables=settings.meta_variables,
        meta_gradient=settings.meta_gradient,
        weighting=settings.weighting,
        reweight_every=settings.reweight_every,
    )


l2rw = Method(model=_model, uses_clean_data=True)
