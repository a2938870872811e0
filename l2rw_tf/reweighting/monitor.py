"""On-device monitoring of training steps: means for the log, and detection of NaN."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.reweighting.feeding.checks import NEGATIVE_WEIGHTS
from l2rw_tf.reweighting.replicas import count_not_finite, sum_over_replicas
from l2rw_tf.reweighting.state import TrainingState
from l2rw_tf.reweighting.weights import effective_batch_size, zero_weight_share

# What `fit` logs in addition to Keras's metrics, as means over the steps of an epoch.
STEP_MEANS = ("clean_loss", "effective_batch_size", "zero_weight_share")

# Loss scaling halves its factor at each overflow; an overflow that lasts longer than this many
# steps is a fault.
_PATIENCE_WITH_LOSS_SCALING = 60


def update_means(
    means: dict[str, keras.metrics.Mean], weights: tf.Tensor, clean_loss: tf.Tensor | None = None
) -> None:
    """Adds one step to the means of `STEP_MEANS`.

    Args:
        means: The metrics by name.
        weights: Example weights, shape (n,).
        clean_loss: Scalar, of the whole batch; None for a step without a clean pass.
    """
    if clean_loss is not None:
        means["clean_loss"].update_state(clean_loss)
    means["effective_batch_size"].update_state(effective_batch_size(weights))
    means["zero_weight_share"].update_state(zero_weight_share(weights))


class FaultWatch(TrainingState):
    """Stores the step at which NaN or infinity began, counted since the model was compiled."""

    def __init__(self, **kwargs: Any) -> None:
        """Creates counters at 0."""
        super().__init__(**kwargs)
        self._patience = 1
        names = ("steps", "bad_steps", "fault_began", "unusable_weights")
        self._steps, self._bad_in_a_row, self._fault_began, self._unusable_weights = (
            keras.Variable(0, dtype="int64", trainable=False, name=name) for name in names
        )

    def load_own_variables(self, store: Any) -> None:
        """Loads the counters if `fit` is being resumed; ignores them if a model is loaded."""
        if self.is_resumed:
            super().load_own_variables(store)

    def start(self, scales_loss: bool) -> None:
        """Resets the counters.

        Args:
            scales_loss: Whether the optimizer scales the loss for half precision, so that an
                occasional overflow of u is not a fault.
        """
        self._patience = _PATIENCE_WITH_LOSS_SCALING if scales_loss else 1
        for variable in self.variables:
            variable.assign(0)

    def update(
        self,
        losses: tf.Tensor,
        clean_loss: tf.Tensor,
        u: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> None:
        """Updates the counters with one step.

        Args:
            losses: ℓ, shape (n,).
            clean_loss: Scalar, of the whole batch.
            u: Signed meta-gradient, shape (n,).
            sample_weight: The user's own weights, shape (n,), or None.
        """
        if sample_weight is not None:
            usable = tf.math.is_finite(sample_weight) & (sample_weight >= 0)
            unusable = tf.reduce_sum(tf.cast(~usable, tf.int64))
            self._unusable_weights.assign_add(sum_over_replicas(unusable))
        self._steps.assign_add(1)
        not_finite = sum_over_replicas(
            tf.stack([count_not_finite(losses), count_not_finite(clean_loss), count_not_finite(u)])
        )
        forward_is_finite = (not_finite[0] == 0) & (not_finite[1] == 0)
        u_is_finite = not_finite[2] == 0
        patience = tf.where(forward_is_finite, tf.constant(self._patience, tf.int64), 1)
        in_a_row = (self._bad_in_a_row.value + 1) * tf.cast(
            tf.logical_not(forward_is_finite & u_is_finite), tf.int64
        )
        self._bad_in_a_row.assign(in_a_row)
        begins = (in_a_row >= patience) & (self._fault_began.value == 0)
        self._fault_began.assign(
            tf.where(begins, self._steps.value - in_a_row + 1, self._fault_began.value)
        )

    def check(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Raises an error if a step met NaN, infinity or negative weights; resets that counter.

        Raises:
            TrainingDiverged: If the loss or u was NaN or infinite; names the step.
            UsageError: If sample weights are negative, NaN or infinite.
        """
        unusable = int(self._unusable_weights.numpy())
        if unusable:
            self._unusable_weights.assign(0)
            raise UsageError(
                f"sample_weight or class_weight gave {unusable} weights that are negative, NaN or "
                f"infinite: {NEGATIVE_WEIGHTS}"
            )
        step = int(self._fault_began.numpy())
        if step:
            for variable in (self._bad_in_a_row, self._fault_began):
                variable.assign(0)
            rate = float(np.asarray(optimizer.learning_rate))
            raise TrainingDiverged(
                f"Training stopped: the loss or u was NaN or infinite at step {step}. Try a "
                f"smaller learning rate (it was {rate:g}) or clipping (clipnorm=1.0 in the "
                "optimizer), and check the data for NaN, infinity and labels outside the "
                "network's classes.",
                step,
            )
