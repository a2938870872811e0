"""Shows the progress of a training on the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

import keras

from l2rw_tf.runs.epoch_record import Row
from l2rw_tf.runs.results import percent

_LINES_PER_TRAINING = 12
_LONGEST_SILENCE_SECONDS = 30.0


class Progress(keras.callbacks.Callback):
    """Prints a line per epoch on a terminal, and fewer elsewhere.

    On a terminal, a status line below the last epoch shows the steps of the current one. Elsewhere
    (a file, a pipe) about a dozen lines per training are printed, more if epochs are long.
    """

    def __init__(self, title: str, steps: Sequence[int], kind: str, stream: TextIO) -> None:
        """Sets up the display.

        Args:
            title: The name of the training in these lines.
            steps: Number of steps of each epoch of the training; a single `fit` may cover a part.
            kind: "bar", "lines", "none", or "auto" (bar on a terminal, lines elsewhere).
            stream: Where to print.
        """
        super().__init__()
        if kind == "auto":
            kind = "bar" if stream.isatty() else "lines"
        self._title = title
        self._steps = steps
        self._epochs = len(steps)
        self._kind = kind
        self._stream = stream
        self._epoch = 0
        self._last_output = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the epoch that the status line shows."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Rewrites the status line, at most a few times per second."""
        if self._kind != "bar" or time.monotonic() - self._last_output < 0.2:
            return
        total = self._steps[self._epoch - 1]
        step = total - self.params["steps"] + batch + 1
        self._write(f"\r{self._head()}  step {step}/{total}\033[K")

    def show(self, row: Row) -> None:
        """Prints the line of a finished epoch, or skips it if lines are printed sparsely.

        Args:
            row: The epoch's row of metrics.csv.
        """
        if self._kind == "bar":
            self._write(f"\r{self._line(row)}\033[K\n")
        elif self._kind == "lines" and self._is_due(row["epoch"]):
            self._write(self._line(row) + "\n")

    def _is_due(self, epoch: int) -> bool:
        every = max(1, self._epochs // _LINES_PER_TRAINING)
        silence = time.monotonic() - self._last_output
        return (
            epoch in (1, self._epochs) or epoch % every == 0 or silence > _LONGEST_SILENCE_SECONDS
        )

    def _head(self) -> str:
        return f"{self._title:10}  epoch {self._epoch:{len(str(self._epochs))}}/{self._epochs}"

    def _line(self, row: Row) -> str:
        parts = [
            f"{self._head()}  loss {row['loss']:7.4f}",
            f"training {percent(row['accuracy']):>6}",
        ]
        if "val_accuracy" in row:
            parts.append(f"held-out {percent(row['val_accuracy']):>6}")
        # If there are trusted examples, the test labels may be wrong and are not shown.
        measured = "trusted" if "trusted_accuracy" in row else "test"
        if (accuracy := row.get(f"{measured}_accuracy")) is not None:
            parts.append(f"{measured} {percent(accuracy):>6}")
        parts.append(f"{row['seconds']:5.1f} s")
        return "  ".join(parts)

    def _write(self, text: str) -> None:
        self._last_output = time.monotonic()
        self._stream.write(text)
        self._stream.flush()
