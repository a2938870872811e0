"""Collects the rows of metrics.csv while a network trains."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from l2rw_tf.errors import TrainingDiverged
from l2rw_tf.runs.phases import FINETUNE, Phase
from l2rw_tf.runs.tables import METRICS

Row = dict[str, str | int | float]


class EpochRecord(keras.callbacks.Callback):
    """Collects a row of metrics.csv per epoch and passes it to listeners.

    The test data (and held-out trusted examples) are evaluated at the end of every epoch, for the
    record only: no training decision depends on them. Clean examples are evaluated too; early
    stopping may use their accuracy. Rows of epochs without evaluation lack these columns.

    Attributes:
        rows: The rows so far, over all phases.
        steps: The number of steps so far, over all phases.
    """

    def __init__(
        self,
        method: str,
        test_batches: tf.data.Dataset,
        listeners: Sequence[Callable[[Row], None]] = (),
        trusted_batches: tf.data.Dataset | None = None,
        clean_batches: tf.data.Dataset | None = None,
        evaluate_every: int = 1,
        steps_per_turn: int = 1,
    ) -> None:
        """Sets up the record.

        Args:
            method: The name of the method, for the column `method`.
            test_batches: The test data, a finite data set of (x, y).
            listeners: Called with each row.
            trusted_batches: Held-out trusted examples in the same form, if there are any.
            clean_batches: Clean examples in the same form, unless they are trained on before
                fine-tuning.
            evaluate_every: Epochs between evaluations.
            steps_per_turn: After how many steps the kinds of steps repeat.
        """
        super().__init__()
        self.rows: list[Row] = []
        self.steps = 0
        self._method = method
        self._test_batches = test_batches
        self._trusted_batches = trusted_batches
        self._clean_batches = clean_batches
        self._listeners = listeners
        self._evaluate_every = evaluate_every
        self._steps_per_turn = steps_per_turn
        self._phase: Phase | None = None
        self._times: list[float] = []
        self._step_seconds_before: dict[str, float] = {}
        self._epoch_start = time.perf_counter()
        self._seconds_before = 0.0
        self._epoch_seconds: float | None = None

    def state(self) -> dict[str, object]:
        """Returns the state for `resume`, in a form that JSON can store."""
        within_epoch = self._epoch_seconds is None
        return {
            "rows": list(self.rows),
            "steps": self.steps,
            "step_seconds": self.step_seconds,
            "seconds": time.perf_counter() - self._epoch_start if within_epoch else 0.0,
        }

    def resume(self, state: Mapping[str, object]) -> None:
        """Resumes from a saved state.

        Args:
            state: The return value of `state`.
        """
        self.rows = list(state["rows"])
        self.steps = state["steps"]
        self._step_seconds_before = state["step_seconds"]
        self._seconds_before = state["seconds"]

    def start_phase(self, phase: Phase) -> None:
        """Starts the next phase."""
        self._step_seconds_before, self._times = self.step_seconds, []
        self._phase = phase

    @property
    def steps_of_phase(self) -> int:
        """The number of steps since the phase began."""
        return self.steps - self._phase.steps_before

    @property
    def train_seconds(self) -> float:
        """Time spent on training steps, without evaluation."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def step_seconds(self) -> dict[str, float]:
        """Median time of a step, by phase; of `steps_per_turn` steps in a row, their mean."""
        # The first step of each kind compiles.
        times = self._times[self._steps_per_turn :] or self._times
        size = min(self._steps_per_turn, max(1, len(times)))
        turns = [times[i : i + size] for i in range(0, len(times) - size + 1, size)]
        here = {self._phase.name: statistics.median(map(statistics.fmean, turns))} if turns else {}
        return self._step_seconds_before | here

    def evaluated_epochs(self, first: int, last: int) -> list[int]:
        """Returns which of some epochs are evaluated, as Keras's `validation_freq` takes them.

        Args:
            first: Number of the first of these epochs, counted from 1.
            last: Number of the last one.
        """
        return [epoch for epoch in range(first, last + 1) if self._is_evaluated(epoch)]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self._epoch_seconds = None
        self._epoch_start = time.perf_counter() - self._seconds_before
        self._seconds_before = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the step's clock."""
        self._first_batch = batch
        self._step_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stops the step's clock and checks that the loss is finite.

        Raises:
            TrainingDiverged: If the loss is NaN or infinite; it has the step within this phase.
        """
        # Keras has fetched the logs by now, so the device has finished the step.
        steps = batch - self._first_batch + 1
        self.steps += steps
        self._times.append((time.perf_counter() - self._step_start) / steps)
        if logs and not math.isfinite(logs["loss"]):
            raise TrainingDiverged("The loss is not finite.", self.steps_of_phase)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Stops the epoch's clock before the epoch is evaluated."""
        if self._epoch_seconds is None:
            self._epoch_seconds = time.perf_counter() - self._epoch_start

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Evaluates the epoch and adds its row."""
        self.on_test_begin()
        found = {
            **logs,
            "method": self._method,
            "epoch": epoch + 1,
            "phase": self._phase.name,
            "step": self.steps,
            "learning_rate": self._phase.rate_at(self.steps_of_phase - 1),
            "seconds": self._epoch_seconds,
        }
        if self._is_evaluated(epoch + 1):
            found |= self._evaluation()
        if "val_cross_entropy" in logs:
            found["val_loss"] = logs["val_cross_entropy"]
        row = {column: found[column] for column in METRICS if column in found}
        if math.isnan(row.get("clean_loss", 0.0)):
            del row["clean_loss"]
        self.rows.append(row)
        for listener in self._listeners:
            listener(row)

    def _is_evaluated(self, epoch: int) -> bool:
        return epoch % self._evaluate_every == 0 or epoch == self._phase.last_epoch

    def _evaluation(self) -> Row:
        test = self._evaluate(self._test_batches)
        found = {"test_loss": test["cross_entropy"], "test_accuracy": test["accuracy"]}
        if self._trusted_batches is not None:
            found["trusted_accuracy"] = self._evaluate(self._trusted_batches)["accuracy"]
        if self._clean_batches is not None and self._phase.name != FINETUNE:
            found["clean_accuracy"] = self._evaluate(self._clean_batches)["accuracy"]
        return found

    def _evaluate(self, batches: tf.data.Dataset) -> dict[str, float]:
        return self.model.evaluate(batches, verbose=0, return_dict=True)
