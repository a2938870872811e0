"""Losses that withstand wrong labels or uneven classes by themselves; all take logits.

Each gives a value an example, (batch,), as any loss of Keras does; `fit` needs nothing else.
"""

from __future__ import annotations

import keras
import tensorflow as tf

# Reed et al. chose these on data with known noise; "soft" needs less of the prediction.
REED_SOFT_BETA = 0.95
REED_HARD_BETA = 0.8

# Zhang and Sabuncu use it in all of their experiments.
GENERALIZED_CROSS_ENTROPY_Q = 0.7


class Bootstrapping(keras.losses.Loss):
    """Bootstrapping: cross-entropy with targets of which the network's own prediction is a part.

    Reed et al. 2014, arXiv 1412.6596, equations 6 and 7. With the given label t (one-hot) and the
    predicted probabilities q the loss is −Σ_k [β t_k + (1 − β) z_k] log q_k.

    - soft, β = 0.95: z = q. The gradient flows through both q, which makes (1 − β) times the
      prediction's entropy a penalty; were the target held fixed, its gradient would be 0.
    - hard, β = 0.8: z is 1 for the class predicted and 0 for the others.
    """

    def __init__(self, kind: str, beta: float) -> None:
        """Sets up the loss.

        Args:
            kind: "soft" or "hard".
            beta: The given label's part in the target, 0 to 1.
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
        given = -_at_labels(log_q, y_true)
        if self._kind == "soft":
            predicted = -tf.reduce_sum(tf.exp(log_q) * log_q, axis=-1)
        else:
            predicted = -tf.reduce_max(log_q, axis=-1)
        return self._beta * given + (1 - self._beta) * predicted


class GeneralizedCrossEntropy(keras.losses.Loss):
    """Generalized cross-entropy, (1 − q_y^κ) / κ with the given label's probability q_y; κ = 0.7.

    Zhang and Sabuncu 2018, arXiv 1805.07836, equation 6: between cross-entropy (κ → 0) and mean
    absolute error (κ = 1). Keras ships it for probabilities; from logits its gradient stays finite
    where a probability is too small for a float.
    """

    def __init__(self, exponent: float = GENERALIZED_CROSS_ENTROPY_Q) -> None:
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
        log_probability = _at_labels(tf.nn.log_softmax(y_pred), y_true)
        return -tf.math.expm1(self._exponent * log_probability) / self._exponent


class HardMining(keras.losses.Loss):
    """Hard mining: cross-entropy of a batch in which the larger class keeps its hardest examples.

    Ren et al. 2018, section 4.1: "selects the highest loss examples from the majority class", after
    the hard negatives of Malisiewicz et al. 2011. The paper leaves open how many; here as many as
    the other classes have examples in the batch (on average over these classes, rounded up, at
    least 1), so that what is left is balanced. The loss is the mean over what is left.
    """

    def __init__(self, majority_class: int, num_classes: int) -> None:
        """Sets up the loss.

        Args:
            majority_class: The class with the most training examples.
            num_classes: Number of classes.
        """
        super().__init__(name="hard_mining")
        self._majority_class = majority_class
        self._num_others = num_classes - 1

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each example, (batch,), 0 for those left out.

        The values of the others are scaled so that the mean over the batch is the mean over them.

        Args:
            y_true: Labels (batch,).
            y_pred: Logits (batch, classes).
        """
        losses = -_at_labels(tf.nn.log_softmax(y_pred), y_true)
        kept = tf.cast(self.kept(y_true, losses), losses.dtype)
        return kept * losses / tf.reduce_mean(kept)

    def kept(self, y_true: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
        """Returns which examples of a batch count, (batch,) bool.

        Args:
            y_true: Labels (batch,).
            losses: Losses (batch,).
        """
        of_majority = tf.equal(tf.cast(tf.reshape(y_true, [-1]), tf.int64), self._majority_class)
        others = tf.reduce_sum(tf.cast(~of_majority, tf.int32))
        number = tf.maximum(1, -(-others // self._num_others))
        hardness = tf.where(of_majority, losses, -float("inf"))
        rank = tf.argsort(tf.argsort(hardness, direction="DESCENDING", stable=True))
        return ~of_majority | (rank < number)


def _at_labels(values: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns of each row (batch, classes) the value at its label, (batch,)."""
    return tf.gather(values, tf.cast(tf.reshape(labels, [-1]), tf.int64), batch_dims=1)
