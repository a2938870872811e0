"""Generalized cross-entropy: between cross-entropy and the more robust absolute error.

Zhang and Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy
labels", 2018, arXiv 1805.07836. Only the loss differs from plain training; it needs no clean data.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.methods.method import Method, at_labels


class GeneralizedCrossEntropy(keras.losses.Loss):
    """(1 − q_y^κ) / κ with the given label's probability q_y, equation 6 of Zhang and Sabuncu.

    Cross-entropy for κ → 0, mean absolute error for κ = 1. Keras has it for probabilities; computed
    from logits, its gradient stays finite if a probability underflows.
    """

    def __init__(self, exponent: float) -> None:
        """Sets up the loss.

        Args:
            exponent: κ (the paper's q), above 0 and at most 1.
        """
        super().__init__(name="generalized_cross_entropy")
        self._exponent = exponent

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each example, (batch,).

        Args:
            y_true: Labels (batch,).
            y_pred: Logits (batch, classes).
        """
        log_probability = at_labels(tf.nn.log_softmax(y_pred), y_true)
        return -tf.math.expm1(self._exponent * log_probability) / self._exponent


# Zhang and Sabuncu use this exponent in all of their experiments.
gce = Method(loss=lambda data: GeneralizedCrossEntropy(0.7))
