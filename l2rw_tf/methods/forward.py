"""Forward correction: the loss of given labels, predicted through the noise's transition matrix.

Patrini, Rozza, Krishna Menon, Nock and Qu, "Making deep neural networks robust to label noise: a
loss correction approach", CVPR 2017, arXiv 1609.03683. With T_ij = p(given = j | true = i), the
loss is −log (Tᵀ p)_y. `forward` estimates T after half of the epochs of plain training, from one
typical example per class. The paper trains one network to estimate T and then a new one; here the
same network continues. `forward_true` computes T from the true labels.
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

# Patrini et al. skip the most confident 3% of the examples, which may be outliers.
_ANCHOR_QUANTILE = 0.97


class CorrectedModel(RowLossModel):
    """A network whose predictions pass through a transition matrix in the training loss.

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
            num_noisy: Examples with rows from here on have right labels, whose loss is not
                corrected. Rows are passed as sample weights. None: all losses are corrected.
        """
        super().__init__(network)
        self._num_noisy = num_noisy
        # A variable, so that checkpoints include it.
        self.transition = self.add_weight(
            name="transition",
            shape=transition.shape,
            initializer=lambda shape, dtype=None: tf.constant(transition, dtype),
            trainable=False,
            dtype="float32",
        )

    def training_loss(self, y: tf.Tensor, y_pred: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
        """Returns the cross-entropy of the given labels, a scalar; see `RowLossModel`."""
        logits = tf.cast(y_pred, tf.float32)
        # Logarithms of probabilities are valid logits.
        given = tf.math.log(tf.nn.softmax(logits) @ self.transition.value + 1e-12)
        if self._num_noisy is not None:
            given = tf.where(tf.reshape(rows, [-1, 1]) < self._num_noisy, given, logits)
        return self.plain_loss(y, given)


def anchor_matrix(probabilities: np.ndarray) -> np.ndarray:
    """Estimates T from predictions of given labels: T_i = p(given | x^i), equation 13.

    Args:
        probabilities: Predicted p(given) of training examples, (n, classes).

    Returns:
        (classes, classes). The row of class i is the prediction for x^i, the example at the 97 %
        quantile of the probability of i.
    """
    place = int(_ANCHOR_QUANTILE * (len(probabilities) - 1))
    return probabilities[np.argsort(probabilities, axis=0, kind="stable")[place]]


def true_matrix(given: np.ndarray, true: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the frequencies of given labels in each true class.

    Args:
        given: The given labels, (n,).
        true: The true labels, (n,).
        num_classes: Number of classes.

    Returns:
        (classes, classes), rows with sum 1; a class without examples has the row of the identity.
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
            "method forward_true needs the true labels: set noise_type or true_label_column, or "
            "use method forward."
        )
    return CorrectedModel(network, true_matrix(train.y, train.true_y, data.source.num_classes))


forward = Method(model=_estimated, first="plain")
forward_true = Method(model=_with_truth)
