"""Bootstrapping: the target is mixed with the network's own prediction.

Reed et al., "Training deep neural networks on noisy labels with bootstrapping", 2014, arXiv
1412.6596. Only the loss differs from plain training; it needs no clean data.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.methods.method import Method, at_labels


class Bootstrapping(keras.losses.Loss):
    """Cross-entropy with targets that are mixed with the network's own prediction.

    Equations 6 and 7 of Reed et al.: with the given label t (one-hot) and the predicted
    probabilities q the loss is −Σ_k [β t_k + (1 − β) z_k] log q_k.

    - soft: z = q. The gradient flows through both q, so that (1 − β) times the prediction's
      entropy is a penalty; with a constant target, its gradient would be 0.
    - hard: z is 1 for the predicted class and 0 for the others.
    """

    def __init__(self, kind: str, beta: float) -> None:
        """Sets up the loss.

        Args:
            kind: "soft" or "hard".
            beta: Fraction of the given label in the target, 0 to 1.
        """
        super().__init__(name=f"bootstrapping_{kind}")
        self._kind = kind
        self._beta = beta

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each example, (batch,).

        Args:
            y_true: Labels (batch,).
            y_pred: Logits (batch, classes).
        """
        log_q = tf.nn.log_softmax(y_pred)
        given = -at_labels(log_q, y_true)
        if self._kind == "soft":
            predicted = -tf.reduce_sum(tf.exp(log_q) * log_q, axis=-1)
        else:
            predicted = -tf.reduce_max(log_q, axis=-1)
        return self._beta * given + (1 - self._beta) * predicted


# Reed et al. chose these β on data with known noise; "soft" needs less of the prediction.
reed_soft = Method(loss=lambda data: Bootstrapping("soft", 0.95))
reed_hard = Method(loss=lambda data: Bootstrapping("hard", 0.8))
