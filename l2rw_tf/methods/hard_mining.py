"""Hard mining: trains only on the hardest examples of the largest class in each batch.

Ren et al. 2018, section 4.1, after the hard negatives of Malisiewicz et al. 2011. Only the loss
differs from plain training; it needs no clean data. The largest class is that of the given labels.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.method import Method, at_labels


class HardMining(keras.losses.Loss):
    """Cross-entropy of a batch in which the larger class keeps its hardest examples.

    Ren et al.: "selects the highest loss examples from the majority class". The paper does not say
    how many; here as many as the other classes have examples in the batch (on average over these
    classes, rounded up, at least 1), so that the kept examples are balanced. The loss is the mean
    over the kept examples.
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
        """Returns the loss of each example, (batch,), 0 for those that are not kept.

        The others are scaled so that the mean over the batch is the mean over the kept examples.

        Args:
            y_true: Labels (batch,).
            y_pred: Logits (batch, classes).
        """
        losses = -at_labels(tf.nn.log_softmax(y_pred), y_true)
        kept = tf.cast(self.kept(y_true, losses), losses.dtype)
        return kept * losses / tf.reduce_mean(kept)

    def kept(self, y_true: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
        """Returns which examples of a batch are kept, (batch,) bool.

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


def _loss(data: PreparedData) -> keras.losses.Loss:
    counts = data.training_class_counts
    return HardMining(counts.index(max(counts)), data.source.num_classes)


hard_mining = Method(loss=_loss)
