"""What is watched of the training steps, on the device: means for the log, and faults."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import TrainingDiverged
from l2rw_tf.reweighting.replicas import sum_over_replicas
from l2rw_tf.reweighting.weights import effective_batch_size, zero_weight_share

# Loss scaling halves its factor at each overflow; what does not recover in
# so many steps never will.
_PATIENCE_WITH_LOSS_SCALING = 60


class StepMonitor:
    """Means over the steps of an epoch beside Keras's metrics, and the step where a fault began."""

    def __init__(self, scales_loss: bool) -> None:
        """Begins with nothing seen.

        Args:
            scales_loss: Whether the optimizer scales the loss of half precision, so that an
                overflow of u now and then is no fault.
        """
        self._means = {
            name: keras.metrics.Mean(name=name)
            for name in ("clean_loss", "effective_batch_size", "zero_weight_share")
        }
        self._patience = _PATIENCE_WITH_LOSS_SCALING if scales_loss else 1
        self._steps = keras.Variable(0, dtype="int64", trainable=False, name="steps")
        self._bad_in_a_row = keras.Variable(0, dtype="int64", trainable=False, name="bad_steps")
        self._fault_began = keras.Variable(0, dtype="int64", trainable=False, name="fault_began")

    def start(self) -> None:
        """Begins a training: counts steps from 1."""
        for variable in self.fault_variables:
            variable.assign(0)

    def update(
        self, weights: tf.Tensor, clean_loss: tf.Tensor, losses: tf.Tensor, u: tf.Tensor
    ) -> None:
        """Takes in one step.

        Args:
            weights: Example weights, shape (N,).
            clean_loss: Scalar, of the whole batch.
            losses: ℓ, shape (N,).
            u: Signed meta-gradient, shape (N,).
        """
        self._means["clean_loss"].update_state(clean_loss)
        self._means["effective_batch_size"].update_state(effective_batch_size(weights))
        self._means["zero_weight_share"].update_state(zero_weight_share(weights))
        self._steps.assign_add(1)
        not_finite = sum_over_replicas(
            tf.stack(
                [_count_not_finite(losses), _count_not_finite(clean_loss), _count_not_finite(u)]
            )
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
        """Ends a training that met NaN or infinity.

        Raises:
            TrainingDiverged: Naming the step and what to try.
        """
        step = int(self._fault_began.numpy())
        if step:
            rate = float(np.asarray(optimizer.learning_rate))
            raise TrainingDiverged(
                f"Training stopped: the loss was NaN or infinite at step {step}. Try a smaller "
                f"learning rate (it was {rate:g}) or clipping (clipnorm=1.0 in the optimizer), and "
                "look in the data for NaN, infinity or labels outside the network's classes.",
                step,
            )

    @property
    def fault_variables(self) -> list[keras.Variable]:
        """The variables by which a fault is found."""
        return [self._steps, self._bad_in_a_row, self._fault_began]

    def met_fault(self) -> tf.Tensor:
        """Returns whether `check` would end the training, a boolean scalar."""
        return self._fault_began.value > 0

    @property
    def means_variables(self) -> list[keras.Variable]:
        """The variables that the means are made of."""
        return [variable for mean in self._means.values() for variable in mean.variables]

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means over the steps so far."""
        return {name: mean.result() for name, mean in self._means.items()}

    def reset_means(self) -> None:
        """Starts the means anew."""
        for mean in self._means.values():
            mean.reset_state()


def _count_not_finite(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(~tf.math.is_finite(values), tf.int32))
