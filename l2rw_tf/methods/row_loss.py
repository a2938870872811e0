"""Networks whose training loss depends on more than labels and outputs."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.reweighting.keras_internals import DistributedFunctional


class RowLossModel(DistributedFunctional):
    """A network with its own training loss; evaluation uses the compiled loss.

    It shares the network's variables. The rows of a batch's examples (`Method.marks_rows`) are
    passed as sample weights, as Keras passes nothing else to `compute_loss`.
    """

    def __init__(self, network: keras.Model) -> None:
        """Sets up the model.

        Args:
            network: A functional model that gives logits.
        """
        super().__init__(network.input, network.output)

    def training_loss(self, y: tf.Tensor, y_pred: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
        """Returns the loss of a training step, a scalar.

        Args:
            y: Labels (batch,).
            y_pred: Logits (batch, classes).
            rows: Rows of the examples (batch,), or None.
        """
        raise NotImplementedError

    def plain_loss(self, y: tf.Tensor, y_pred: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Returns the compiled loss, with the network's regularization."""
        return super().compute_loss(None, y, y_pred, None, training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the loss, as `keras.Model.compute_loss` does; `sample_weight` are the rows."""
        if not training:
            return self.plain_loss(y, y_pred, training)
        return self.training_loss(y, y_pred, sample_weight)
