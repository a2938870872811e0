"""What the terminal shows: progress, the banner of the fallback, the closing table."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import keras

from l2rw_tf.runs.results import TrainingResults, percent

_LINES_A_TRAINING = 12
_LONGEST_SILENCE_SECONDS = 30.0
_WIDTH = 80


class Progress(keras.callbacks.Callback):
    """Shows how a training goes on: a line an epoch, or fewer where nobody watches.

    On a terminal every epoch has its line, and a status line with the steps of the epoch is
    rewritten under it. Elsewhere about a dozen lines a training are printed, and more where epochs
    are long.
    """

    def __init__(self, title: str, kind: str, stream: TextIO) -> None:
        """Sets up the display.

        Args:
            title: What the training is called.
            kind: "bar", "lines", "none", or "auto": bar on a terminal and lines elsewhere.
            stream: Where it is shown.
        """
        super().__init__()
        if kind == "auto":
            kind = "bar" if stream.isatty() else "lines"
        self._title = title
        self._kind = kind
        self._stream = stream
        self._epoch = 0
        self._last_output = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Rewrites the status line, a few times a second at most."""
        if self._kind != "bar" or time.monotonic() - self._last_output < 0.2:
            return
        total = self.params.get("steps")
        self._write(f"\r{self._head()}  step {batch + 1}/{total}\033[K")

    def show(self, row: Mapping[str, Any]) -> None:
        """Prints the line of a finished epoch, if it is one of those to print.

        Args:
            row: The epoch's row of metrics.csv.
        """
        if self._kind == "bar":
            self._write(f"\r{self._line(row)}\033[K\n")
        elif self._kind == "lines" and self._is_due(row["epoch"]):
            self._write(self._line(row) + "\n")

    def _is_due(self, epoch: int) -> bool:
        epochs = self.params["epochs"]
        every = max(1, epochs // _LINES_A_TRAINING)
        silence = time.monotonic() - self._last_output
        return epoch in (1, epochs) or epoch % every == 0 or silence > _LONGEST_SILENCE_SECONDS

    def _head(self) -> str:
        epochs = self.params["epochs"]
        return f"{self._title:10}  epoch {self._epoch:{len(str(epochs))}}/{epochs}"

    def _line(self, row: Mapping[str, Any]) -> str:
        parts = [
            f"{self._head()}  loss {row['loss']:7.4f}",
            f"training {percent(row['accuracy']):>6}",
        ]
        if "val_accuracy" in row:
            parts.append(f"held-out {percent(row['val_accuracy']):>6}")
        parts.append(f"test {percent(row['test_accuracy']):>6}")
        parts.append(f"{row['seconds']:5.1f} s")
        return "  ".join(parts)

    def _write(self, text: str) -> None:
        self._last_output = time.monotonic()
        self._stream.write(text)
        self._stream.flush()


def fallback_banner(asked: str, used: str, reason: str) -> str:
    """The lines that say that another data set is used than was asked for.

    Args:
        asked: The data set that was asked for.
        used: The one that is used.
        reason: Why, and how to get the other.
    """
    inside = [
        "",
        f"{asked} IS NOT TO BE HAD: THIS RUN USES {used} INSTEAD",
        "",
        *textwrap.wrap(reason, _WIDTH - 8),
        "",
        f"Every result of this run is one on {used}, not on {asked}.",
        "",
    ]
    edge = "#" * _WIDTH
    return "\n".join([edge, *(f"#   {line:{_WIDTH - 8}}   #" for line in inside), edge])


def closing_table(results: Sequence[TrainingResults], titles: Mapping[str, str]) -> str:
    """The table of a finished run.

    Args:
        results: Of each training.
        titles: What each method is called.
    """
    head = ("", "test accuracy", "test loss", "training", "one step")
    rows = [
        (
            titles[result.method],
            percent(result.test_accuracy),
            f"{result.test_loss:.4f}",
            f"{result.train_seconds:.1f} s",
            f"{result.step_seconds * 1000:.1f} ms",
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for first, *others in (head, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("   ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
