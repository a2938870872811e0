"""The errors whose messages are written for users."""

from __future__ import annotations


class UsageError(ValueError):
    """Invalid input from the caller; the message says what was received and what is possible.

    The programs print the message and end with exit code 2.
    """


class DataUnavailable(UsageError):
    """A data set that was not found locally and could not be downloaded."""


class RunFailed(RuntimeError):
    """A failure at run time; the programs print the message and end with exit code 1."""


class TrainingDiverged(RunFailed):
    """The loss or u became NaN or infinite in training.

    Attributes:
        step: The first step at which it was, counted from 1.
    """

    def __init__(self, message: str, step: int) -> None:
        """Stores the message and the step."""
        super().__init__(message)
        self.step = step
