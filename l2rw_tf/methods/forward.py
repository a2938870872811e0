"""Forward correction: a loss of the labels that noise makes of what the network predicts.

Patrini, Rozza, Krishna Menon, Nock and Qu, "Making deep neural networks robust to label noise: a
loss correction approach", CVPR 2017, arXiv 1609.03683. With T_ij = p(given = j | true = i), the
loss is −log (Tᵀ p)_y. `forward` estimates T after half of the epochs of plain training, from one
example per class that looks most like it; the paper trains a network for that alone and a new one
afterwards, here the same network is trained on. `forward_true` has T from the true labels.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.data.predictions import class_probabilities
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import UsageError
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.row_loss import RowLossModel
from l2rw_tf.methods.settings import MethodSettings

# Patrini et al. pass over the most confident 3 % of the examples, which may be outliers.
_ANCHOR_QUANTILE = 0.97


class CorrectedModel(RowLossModel):
    """A network that is trained on the labels which a transition matrix makes of its own.

    Attributes:
        transition: T, (classes, classes): rows with sum 1.
    """

    def __init__(
        self, network: keras.Model, transition: np.ndarray, num_noisy: int | None = None
    ) -> None:
        """Sets up the model, which shares the network's variables.

        Args:
            network: A functional model that gives logits.
            transition: T.
            num_noisy: Examples with a row from here on have right labels, which are not corrected.
                Rows stand where sample weights do. None: all labels are corrected.
        """
        super().__init__(network)
        self._num_noisy = num_noisy
        # A variable, so that a checkpoint has it.
        self.transition = self.add_weight(
            name="transition",
            shape=transition.shape,
            initializer=lambda shape, dtype=None: tf.constant(transition, dtype),
            trainable=False,
            dtype="float32",
        )

    def training_loss(self, y: tf.Tensor, y_pred: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
        """Returns the cross-entropy of the labels given, a scalar; see `RowLossModel`."""
        logits = tf.cast(y_pred, tf.float32)
        # The logarithm of probabilities is as good as logits.
        given = tf.math.log(tf.nn.softmax(logits) @ self.transition.value + 1e-12)
        if self._num_noisy is not None:
            given = tf.where(tf.reshape(rows, [-1, 1]) < self._num_noisy, given, logits)
        return self.plain_loss(y, given)


def anchor_matrix(probabilities: np.ndarray) -> np.ndarray:
    """Estimates T from predictions of given labels: T_i = p(given | x^i), equation 13.

    Args:
        probabilities: Of the given label by class, for training examples, (n, classes).

    Returns:
        (classes, classes). The row of class i is the prediction for x^i, the example at the 97 %
        quantile of the probability of i.
    """
    place = int(_ANCHOR_QUANTILE * (len(probabilities) - 1))
    return probabilities[np.argsort(probabilities, axis=0, kind="stable")[place]]


def true_matrix(given: np.ndarray, true: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how often each label was given to examples of each true class.

    Args:
        given: The labels given, (n,).
        true: The true ones, (n,).
        num_classes: Number of classes.

    Returns:
        (classes, classes), rows with sum 1; of a class without examples that of the identity.
    """
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (true, given), 1)
    counts[counts.sum(axis=1) == 0] = np.eye(num_classes)[counts.sum(axis=1) == 0]
    return counts / counts.sum(axis=1, keepdims=True)


def _estimated(
    network: keras.Model, settings: MethodSettings, data: PreparedData
) -> CorrectedModel:
    found = anchor_matrix(class_probabilities(network, data.splits.train, data.preprocessing))
    return CorrectedModel(network, found)


def _with_truth(
    network: keras.Model, settings: MethodSettings, data: PreparedData
) -> CorrectedModel:
    train = data.splits.train
    if train.true_y is None:
        raise UsageError(
            "method forward_true needs to know the true labels, by noise_type or by "
            "true_label_column; forward estimates what it needs."
        )
    return CorrectedModel(network, true_matrix(train.y, train.true_y, data.source.num_classes))


forward = Method(model=_estimated, first="plain")
forward_true = Method(model=_with_truth)
