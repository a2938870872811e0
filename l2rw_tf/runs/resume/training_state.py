"""What the rest of a training depends on: taken from its model, written down, and given back."""

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

# Several workers must save at the same step: they agree on it, at the cost of a message.
_AGREE_EVERY = 10


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns every variable that the next step depends on, by name.

    Args:
        model: A model in training.

    Returns:
        The model's variables (moving averages and random seeds too), the optimizer's (its step and
        loss scale too), those that record the examples, and the means over the epoch so far.
    """
    return {
        f"{group}/{number:04}": np.array(variable)
        for group, variables in variables_of(model).items()
        for number, variable in enumerate(variables)
    }


def all_finite(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether no number of the variables is NaN or infinite.

    Args:
        arrays: What `arrays_of` returned.
    """
    return all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")


def variables_of(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """Returns every variable that a step of training changes: its state, and the epoch's means.

    Args:
        model: A model in training.
    """
    state = [*model.variables, *model.optimizer.variables]
    return {_STATE: state, _MEANS: model.metrics_variables}


def make_variables(model: keras.Model, num_classes: int) -> None:
    """Makes the variables that Keras makes in the first step of training.

    Args:
        model: A compiled model.
        num_classes: The size of its output.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if tf.distribute.has_strategy():
        # There Keras makes those of its metrics beforehand.
        return
    before = [(variable, variable.numpy()) for variable in model.metrics_variables]
    model.compute_metrics(None, np.zeros(1, np.int64), np.zeros((1, num_classes), np.float32))
    for metric in model.metrics:
        metric.reset_state()
    for variable, value in before:
        variable.assign(value)


class Resume(keras.callbacks.Callback):
    """Gives a model, at the start of its `fit`, the variables of a checkpoint."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], within_epoch: bool, num_classes: int
    ) -> None:
        """Sets up the callback.

        Args:
            arrays: What `arrays_of` returned.
            within_epoch: Whether the `fit` begins within an epoch, whose means are resumed as well.
            num_classes: The size of the network's output.
        """
        super().__init__()
        self._arrays = arrays
        self._num_classes = num_classes
        self._within_epoch = within_epoch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Sets the variables, which are all there by now.

        Raises:
            RunFailed: If the checkpoint is not of such a model.
        """
        make_variables(self.model, self._num_classes)
        self._assign(_STATE)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the means, which Keras has just started anew."""
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
                    "resume with that one, or begin a run in a new directory."
                )
            variable.assign(values)


class SaveRegularly(keras.callbacks.Callback):
    """Saves at the end of every epoch, within epochs by the clock, and when a signal asks to stop.

    It comes last among the callbacks, so that the others have done their part of the epoch.
    """

    def __init__(
        self, take: Callable[[], Checkpoint], save: Callable[[Checkpoint], None], minutes: float
    ) -> None:
        """Sets up the callback.

        Args:
            take: Takes a checkpoint of the training as it is.
            save: Saves it.
            minutes: The time between two savings within an epoch; 0: none within epochs.
        """
        super().__init__()
        self._take = take
        self._save = save
        self._seconds = 60 * minutes if minutes else float("inf")
        self._last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Saves if it is time or the last chance; an epoch's last step waits for its end."""
        if batch + 1 == self.params["steps"]:
            return
        if has_several_workers() and (batch + 1) % _AGREE_EVERY:
            return
        is_due = time.monotonic() - self._last >= self._seconds
        if any_worker(bool(stop_signal.received) or is_due):
            self._save_now()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves."""
        self._save_now()

    def _save_now(self) -> None:
        self._save(self._take())
        self._last = time.monotonic()
        if any_worker(bool(stop_signal.received)):
            stop_signal.received = stop_signal.received or "a signal to another worker"
            stop_signal.obey()
