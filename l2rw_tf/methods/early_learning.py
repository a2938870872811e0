"""Early-learning regularization: keeps predictions close to those made before memorization.

Liu, Niles-Weed, Razavian and Fernandez-Granda, "Early-learning regularization prevents memorization
of noisy labels", NeurIPS 2020, arXiv 2007.00151. It needs no clean data.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.row_loss import RowLossModel
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.replicas import gather_examples

# The values of Liu et al. for CIFAR-10.
_STRENGTH, _MOMENTUM = 3.0, 0.7


class EarlyLearningModel(RowLossModel):
    """A network whose loss is the cross-entropy + λ/n Σ log(1 − ⟨p_i, t_i⟩).

    t_i ← β t_i + (1 − β) p_i is the running mean of the example's own predictions.

    Attributes:
        targets: t, (examples, classes), 0 at the start.
    """

    def __init__(
        self,
        network: keras.Model,
        num_examples: int,
        strength: float = _STRENGTH,
        momentum: float = _MOMENTUM,
    ) -> None:
        """Sets up the model, which shares the network's variables.

        Args:
            network: A functional model that gives logits.
            num_examples: Number of training examples.
            strength: λ.
            momentum: β.
        """
        super().__init__(network)
        self._strength, self._momentum = strength, momentum
        self.targets = self.add_weight(
            name="targets",
            shape=(num_examples, network.output.shape[-1]),
            initializer="zeros",
            trainable=False,
            dtype="float32",
        )

    def training_loss(self, y: tf.Tensor, y_pred: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
        """Updates the targets and returns the loss, a scalar; see `RowLossModel`."""
        rows = tf.reshape(rows, [-1])
        # Kept away from 0 and 1, as in the published code, so that the logarithm stays finite.
        p = tf.clip_by_value(tf.nn.softmax(tf.cast(y_pred, tf.float32)), 1e-4, 1 - 1e-4)
        seen = tf.stop_gradient(p / tf.reduce_sum(p, axis=1, keepdims=True))
        t = self._momentum * tf.gather(self.targets.value, rows) + (1 - self._momentum) * seen
        self._keep(rows, t)
        term = tf.reduce_mean(tf.math.log(1 - tf.reduce_sum(p * t, axis=1)))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.plain_loss(y, y_pred) + self._strength * term / replicas

    def _keep(self, rows: tf.Tensor, targets: tf.Tensor) -> None:
        rows, targets = gather_examples([rows, targets])
        # The handle of a distributed variable is that of this replica's copy.
        tf.raw_ops.ResourceScatterNdUpdate(
            ref=self.targets.value.handle, indices=rows[:, None], updates=targets
        )


def _model(
    network: keras.Model, settings: MethodSettings, data: PreparedData
) -> EarlyLearningModel:
    return EarlyLearningModel(network, len(data.splits.train))


elr = Method(model=_model, marks_rows=True)
