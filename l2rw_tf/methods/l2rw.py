"""The method of the paper: every batch is weighted by what it would do to the clean loss.

Ren, Zeng, Yang and Urtasun, "Learning to reweight examples for robust deep learning", ICML 2018,
arXiv 1803.09050. It needs clean data beside the training data. All of it is in
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
