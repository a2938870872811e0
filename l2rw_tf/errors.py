"""The errors that speak to the person who runs the project."""

from __future__ import annotations


class UsageError(ValueError):
    """A mistake in what the caller gave: one sentence that says what came and what is possible.

    The programs print the sentence and end with exit code 2.
    """


class DataUnavailable(UsageError):
    """A data set that is neither on this machine nor available from the network."""


class RunFailed(RuntimeError):
    """A failure at run time that a sentence explains; the programs print it and end with code 1."""


class TrainingDiverged(RunFailed):
    """Training met a loss that is not finite.

    Attributes:
        step: The training step, counted from 1, at which it was met first.
    """

    def __init__(self, message: str, step: int) -> None:
        """Keeps the sentence and the step."""
        super().__init__(message)
        self.step = step
