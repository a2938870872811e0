"""Forward correction: a loss of the labels that noise makes of what the network predicts.

Patrini, Rozza, Krishna Menon, Nock and Qu, "Making deep neural networks robust to label noise: a
loss correction approach", CVPR 2017, arXiv 1609.03683. With T_ij = p(given = j | true = i), the
loss is −log (Tᵀ p)_y. `forward` estimates T after half of the epochs of plain training, from one
example per class that looks most like it; the paper trains a network for that alone and a new one
afterwards, here the same network is trained on. `forward_true` has T from the true labels.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import UsageError
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.keras_internals import DistributedFunctional

# Patrini et al. pass over the most confident 3 % of the examples, which may be outliers.
_ANCHOR_QUANTILE = 0.97


class CorrectedModel(DistributedFunctional):
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
        super().__init__(network.input, network.output)
        self._num_noisy = num_noisy
        # A variable, so that a checkpoint has it.
        self.transition = self.add_weight(
            name="transition",
            shape=transition.shape,
            initializer=lambda shape, dtype=None: tf.constant(transition, dtype),
            trainable=False,
            dtype="float32",
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the loss; outside of training it is that of the network alone.

        Args:
            x: Inputs.
            y: Labels (batch,).
            y_pred: Logits (batch, classes).
            sample_weight: The rows of the examples (batch,), or None.
            training: Whether this is a training step.
        """
        if training:
            probabilities = tf.nn.softmax(tf.cast(y_pred, tf.float32))
            # The logarithm of probabilities is as good as logits.
            given = tf.math.log(probabilities @ self.transition.value + 1e-12)
            if self._num_noisy is not None:
                is_noisy = tf.reshape(sample_weight, [-1, 1]) < self._num_noisy
                given = tf.where(is_noisy, given, tf.cast(y_pred, tf.float32))
            y_pred = given
        return super().compute_loss(x, y, y_pred, None, training)


def probabilities_of(network: keras.Model, examples: Examples, data: PreparedData) -> np.ndarray:
    """Returns what a network says of examples, (n, classes) float64."""
    batches = pipeline.evaluation_batches(examples, data.preprocessing, batch_size=500)
    logits = [np.asarray(network(x, training=False)) for x, _ in batches]
    logits = np.concatenate(logits).astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


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
    found = anchor_matrix(probabilities_of(network, data.splits.train, data))
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
