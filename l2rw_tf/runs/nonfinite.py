"""Steps that meet NaN or infinity, dropped instead of ending the training."""

from __future__ import annotations

import itertools

import keras
import tensorflow as tf

from l2rw_tf.reweighting.replicas import sum_over_replicas
from l2rw_tf.runs.resume import training_state


class SkipNonfinite:
    """Undoes every step after which a number of its model is NaN or infinite.

    NaN or infinity in the loss or u shows in the means that `fit` logs, and in the parameters.
    Nothing stays of such a step: the network, its moving averages and random seeds, the optimizer,
    the record of the examples and the means are what they were before it.
    """

    def __init__(self, num_classes: int) -> None:
        """Begins with no step.

        Args:
            num_classes: The size of the network's output.
        """
        self._num_classes = num_classes
        self._skipped = keras.Variable(0, dtype="int64", trainable=False, name="skipped")

    @property
    def skipped(self) -> int:
        """How many steps were undone so far."""
        return int(self._skipped.numpy())

    def resume(self, skipped: int) -> None:
        """Goes on from a saved number of steps."""
        self._skipped.assign(skipped)

    def watch(self, model: keras.Model) -> None:
        """Puts itself around the step of a model that has not been trained yet.

        Args:
            model: A compiled model.
        """
        step = model.train_step

        def step_or_nothing(data: object) -> dict[str, tf.Tensor]:
            with tf.init_scope():
                training_state.make_variables(model, self._num_classes)
            variables = [*itertools.chain(*training_state.variables_of(model).values())]
            before = [tf.identity(variable.value) for variable in variables]
            step(data)
            is_good = _all_finite(variables)
            is_good = tf.equal(sum_over_replicas(tf.cast(~is_good, tf.int32)), 0)
            for variable, value in zip(variables, before, strict=True):
                variable.assign(tf.where(is_good, variable.value, value))
            self._skipped.assign_add(tf.cast(tf.logical_not(is_good), tf.int64))
            return model.get_metrics_result()

        model.train_step = step_or_nothing


def _all_finite(variables: list[keras.Variable]) -> tf.Tensor:
    floats = (v.value for v in variables if keras.backend.is_float_dtype(v.dtype))
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in floats])
