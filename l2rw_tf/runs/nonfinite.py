"""Undoes training steps with NaN or infinity instead of ending the training."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
import tensorflow as tf

from l2rw_tf.reweighting.replicas import sum_over_replicas
from l2rw_tf.runs.resume import training_state

Step = Callable[[object], dict[str, tf.Tensor]]


class SkipNonfinite:
    """Undoes every step after which a variable of the model is NaN or infinite.

    NaN or infinity in the loss or in u reaches the means that `fit` logs, and the parameters. All
    variables are then set back to their values before the step: the network with its moving
    averages and random seeds, the optimizer, the record of the examples and the means.
    """

    def __init__(self, num_classes: int) -> None:
        """Starts with no skipped steps.

        Args:
            num_classes: The size of the network's output.
        """
        self._num_classes = num_classes
        self._skipped = keras.Variable(0, dtype="int64", trainable=False, name="skipped")

    @property
    def skipped(self) -> int:
        """The number of steps undone so far."""
        return int(self._skipped.numpy())

    def resume(self, skipped: int) -> None:
        """Resumes from a saved number of skipped steps."""
        self._skipped.assign(skipped)

    def watch(self, model: keras.Model) -> None:
        """Wraps the training steps of a model.

        Args:
            model: A compiled model that has not been trained yet.
        """
        for name in ("train_step", "step_with_last_weights"):
            if step := getattr(model, name, None):
                setattr(model, name, self._step_or_nothing(model, step))

    def _step_or_nothing(self, model: keras.Model, step: Step) -> Step:
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

        return step_or_nothing


def _all_finite(variables: list[keras.Variable]) -> tf.Tensor:
    floats = (v.value for v in variables if keras.backend.is_float_dtype(v.dtype))
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in floats])
