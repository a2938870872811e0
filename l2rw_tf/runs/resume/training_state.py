"""The variables that the rest of a training depends on: read, saved and restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.command_line.program import stop_signal
from l2rw_tf.errors import RunFailed
from l2rw_tf.runs.distribution import any_worker, has_several_workers
from l2rw_tf.runs.resume.checkpoints import Checkpoint

_STATE, _MEANS = "state", "means"

# Several workers must save at the same step; agreeing on it costs a message, so not at every step.
_AGREE_EVERY = 10


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns every variable that the next step depends on, by name.

    Args:
        model: A model in training.

    Returns:
        Copies of the model's variables (including moving averages, random seeds and the record of
        the examples), the optimizer's (including its step and loss scale), and the means over the
        epoch so far.
    """
    return {
        f"{group}/{number:04}": np.array(variable)
        for group, variables in variables_of(model).items()
        for number, variable in enumerate(variables)
    }


def all_finite(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether all numbers in the arrays are finite.

    Args:
        arrays: The return value of `arrays_of`.
    """
    return all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")


def variables_of(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """Returns every variable that a training step may change: the state, and the epoch's means.

    Args:
        model: A model in training.
    """
    state = [*model.variables, *model.optimizer.variables]
    return {_STATE: state, _MEANS: model.metrics_variables}


def make_variables(model: keras.Model, num_classes: int) -> None:
    """Creates the variables that Keras would create in the first training step.

    Args:
        model: A compiled model.
        num_classes: The size of its output.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if tf.distribute.has_strategy():
        # Under a strategy, Keras creates the variables of its metrics beforehand.
        return
    before = [(variable, variable.numpy()) for variable in model.metrics_variables]
    model.compute_metrics(None, np.zeros(1, np.int64), np.zeros((1, num_classes), np.float32))
    for metric in model.metrics:
        metric.reset_state()
    for variable, value in before:
        variable.assign(value)


class Resume(keras.callbacks.Callback):
    """Sets the variables of a model to those of a checkpoint when its `fit` starts."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], within_epoch: bool, num_classes: int
    ) -> None:
        """Sets up the callback.

        Args:
            arrays: The return value of `arrays_of`.
            within_epoch: Whether `fit` starts within an epoch, whose means are then restored too.
            num_classes: The size of the network's output.
        """
        super().__init__()
        self._arrays = arrays
        self._num_classes = num_classes
        self._within_epoch = within_epoch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Creates missing variables and sets all of them.

        Raises:
            RunFailed: If the checkpoint does not fit the model.
        """
        make_variables(self.model, self._num_classes)
        self._assign(_STATE)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the means, which Keras has just reset."""
        if self._within_epoch:
            self._within_epoch = False
            self._assign(_MEANS)

    def _assign(self, group: str) -> None:
        for number, variable in enumerate(variables_of(self.model)[group]):
            values = self._arrays.get(f"{group}/{number:04}")
            if values is None or values.shape != tuple(variable.shape):
                found = "nothing" if values is None else f"shape {values.shape}"
                raise RunFailed(
                    f"The checkpoint has {found} for {variable.path} of shape "
                    f"{tuple(variable.shape)}. Another version of l2rw_tf or Keras wrote it: "
                    "resume with that version, or start a run in a new directory."
                )
            variable.assign(values)


class SaveRegularly(keras.callbacks.Callback):
    """Saves at the end of every epoch, at intervals within epochs, and when a stop signal arrives.

    This must be the last callback, so that the others have handled the epoch before.
    """

    def __init__(
        self, take: Callable[[], Checkpoint], save: Callable[[Checkpoint], None], minutes: float
    ) -> None:
        """Sets up the callback.

        Args:
            take: Returns a checkpoint of the current state.
            save: Saves a checkpoint.
            minutes: Time between checkpoints within an epoch; 0 for none within epochs.
        """
        super().__init__()
        self._take = take
        self._save = save
        self._seconds = 60 * minutes if minutes else float("inf")
        self._last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Saves if due or if a stop signal has arrived, except at an epoch's last step."""
        if batch + 1 == self.params["steps"]:
            return
        if has_several_workers() and (batch + 1) % _AGREE_EVERY:
            return
        is_due = time.monotonic() - self._last >= self._seconds
        if any_worker(bool(stop_signal.received) or is_due):
            self._save_now()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves a checkpoint."""
        self._save_now()

    def _save_now(self) -> None:
        self._save(self._take())
        self._last = time.monotonic()
        if any_worker(bool(stop_signal.received)):
            stop_signal.received = stop_signal.received or "a signal to another worker"
            stop_signal.obey()
