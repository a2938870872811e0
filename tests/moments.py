"""Moments of a run at which something can be made to happen to it.

A moment is the end of a training step, "step", or the beginning of an operation on a file of the
run's directory, such as "open metrics.csv" or "os.rmdir checkpoints/step-0000000002". What another
process would find on the disk if this one were killed is the directory as it is at the moment.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from l2rw_tf.command_line import environment

_OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
# Python calls a hook for as long as the process lives, so there is one for all.
_listeners: list[Callable[[str, tuple], None]] = []


@contextlib.contextmanager
def happening(
    directory: Path, kind: str, number: int, action: Callable[[], object]
) -> Iterator[list[str]]:
    """Calls `action` at one moment of the run that the program does in this scope.

    Args:
        directory: The run's directory.
        kind: What the descriptions of the moments that count begin with.
        number: The number of the moment, counted from 1; 0 for none.
        action: What happens. An exception of it is one of the operation.

    Yields:
        The moments so far.
    """
    moments: list[str] = []
    below = str(directory.absolute()) + os.sep
    is_happening = False

    def moment(description: str) -> None:
        nonlocal is_happening
        if not description.startswith(kind) or is_happening:
            return
        moments.append(description)
        if len(moments) == number:
            is_happening = True
            try:
                action()
            finally:
                is_happening = False

    def operation(event: str, arguments: tuple) -> None:
        if event in _OPERATIONS and isinstance(arguments[0], str):
            path = os.path.abspath(arguments[0])
            if path.startswith(below):
                moment(f"{event} {path.removeprefix(below)}")

    _listen()
    _listeners.append(operation)
    try:
        with _counted_steps(lambda: moment("step")):
            yield moments
    finally:
        _listeners.remove(operation)


@functools.cache
def _listen() -> None:
    def hook(event: str, arguments: tuple) -> None:
        for listener in _listeners:
            listener(event, arguments)

    sys.addaudithook(hook)


@contextlib.contextmanager
def _counted_steps(after_step: Callable[[], None]) -> Iterator[None]:
    """Calls the function after each step, without loading TensorFlow before the program does."""
    prepare = environment.prepare_tensorflow
    restore = contextlib.ExitStack()

    def prepare_and_count() -> None:
        prepare()
        from l2rw_tf.runs.epoch_record import EpochRecord

        end_of_step = EpochRecord.on_train_batch_end

        def end_of_step_and_moment(self: EpochRecord, batch: int, logs: object = None) -> None:
            end_of_step(self, batch, logs)
            after_step()

        EpochRecord.on_train_batch_end = end_of_step_and_moment
        restore.callback(setattr, EpochRecord, "on_train_batch_end", end_of_step)

    environment.prepare_tensorflow = prepare_and_count
    try:
        with restore:
            yield
    finally:
        environment.prepare_tensorflow = prepare
