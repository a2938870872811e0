"""What is written down while a network trains."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Row = dict[str, Any]

# Of metrics.csv. Losses of held-out and test data are the cross-entropy alone; the training loss is
# what was minimized: reweighted where the method reweights, and with the weight decay.
COLUMNS = (
    "method",
    "epoch",
    "phase",
    "step",
    "learning_rate",
    "loss",
    "accuracy",
    "clean_loss",
    "effective_batch_size",
    "zero_weight_share",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "seconds",
)


class EpochRecord(keras.callbacks.Callback):
    """Collects a row of metrics.csv an epoch and hands it on.

    The test data is evaluated at the end of every epoch, for the record only: nothing in a training
    depends on it.

    Attributes:
        rows: The rows so far, of all phases.
        steps: The steps taken so far.
        diverged_at_step: The step, counted from 1, that met a loss that is not finite, or None.
    """

    def __init__(
        self,
        method: str,
        *,
        test_batches: tf.data.Dataset,
        listeners: Sequence[Callable[[Row], None]] = (),
    ) -> None:
        """Sets up the record.

        Args:
            method: What is trained, for the column of that name.
            test_batches: Finite, (x, y).
            listeners: Called with each row.
        """
        super().__init__()
        self.rows: list[Row] = []
        self.steps = 0
        self.diverged_at_step: int | None = None
        self._method = method
        self._test_batches = test_batches
        self._listeners = listeners
        self._step_seconds: list[float] = []
        self._epoch_seconds: float | None = None

    def start_phase(self, name: str, learning_rate: Callable[[int], Any] | float) -> None:
        """Tells the record that another `fit` follows.

        Args:
            name: What this phase of the training is called, for the column of that name.
            learning_rate: A number, or a schedule over the steps of this phase.
        """
        self._phase = name
        self._learning_rate = learning_rate
        self._steps_before = self.steps
        # The first step of each phase compiles.
        self._timed_from = len(self._step_seconds) + 1

    @property
    def train_seconds(self) -> float:
        """Time spent on training steps; evaluation is left out."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def step_seconds(self) -> float:
        """Median time of a step of this phase, without the first, which compiles."""
        return statistics.median(self._step_seconds[self._timed_from :] or self._step_seconds)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's clock."""
        self._epoch_seconds = None
        self._epoch_start = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the step's clock."""
        self._first_step = batch
        self._step_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stops the step's clock, and the training where the loss is not finite."""
        # Keras has fetched the logs by now, so that the device has done the step.
        steps = batch - self._first_step + 1
        self.steps += steps
        self._step_seconds.append((time.perf_counter() - self._step_start) / steps)
        if logs and not math.isfinite(logs["loss"]):
            self.diverged_at_step = self.steps
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Stops the epoch's clock before the epoch is evaluated."""
        if self._epoch_seconds is None:
            self._epoch_seconds = time.perf_counter() - self._epoch_start

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch down."""
        self.on_test_begin()
        test = self.model.evaluate(self._test_batches, verbose=0, return_dict=True)
        rate = self._learning_rate
        if callable(rate):
            rate = float(rate(self.steps - self._steps_before - 1))
        found = {
            **logs,
            "method": self._method,
            "epoch": epoch + 1,
            "phase": self._phase,
            "step": self.steps,
            "learning_rate": rate,
            "test_loss": test["cross_entropy"],
            "test_accuracy": test["accuracy"],
            "seconds": self._epoch_seconds,
        }
        if "val_cross_entropy" in logs:
            found["val_loss"] = logs["val_cross_entropy"]
        row = {column: found[column] for column in COLUMNS if column in found}
        self.rows.append(row)
        for listener in self._listeners:
            listener(row)
