"""Gold loss correction: estimates the noise's transition matrix from the clean examples.

Hendrycks, Mazeika, Wilson and Gimpel, "Using trusted data to train deep networks on labels
corrupted by severe noise", NeurIPS 2018, arXiv 1802.05300. A network is trained plainly on the
given labels; its average prediction for the clean examples of class i is row i of the transition
matrix. Then it is trained on all examples, with cross-entropy on the clean ones and forward
correction with that matrix on the others. The paper starts a new network for this; here the same
network continues after half of the epochs.
"""

from __future__ import annotations

import keras
import numpy as np

from l2rw_tf.data.predictions import class_probabilities
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.forward import CorrectedModel
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.settings import MethodSettings


def gold_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Estimates T_ij as the mean of p(given = j) over the clean examples of class i.

    Args:
        probabilities: Predicted p(given) of clean examples, (n, classes).
        labels: Their labels (n,).

    Returns:
        (classes, classes); a class without clean examples has the row of the identity.
    """
    found = np.eye(probabilities.shape[1])
    for label in np.unique(labels):
        found[label] = probabilities[labels == label].mean(axis=0)
    return found


def _model(network: keras.Model, settings: MethodSettings, data: PreparedData) -> CorrectedModel:
    clean = data.splits.clean
    found = gold_matrix(class_probabilities(network, clean, data.preprocessing), clean.y)
    return CorrectedModel(network, found, num_noisy=len(data.splits.train))


glc = Method(model=_model, first="plain", part="both", marks_rows=True)
