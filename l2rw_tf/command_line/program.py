"""Runs programs: exit codes, signals, and one clear line for each error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from l2rw_tf.command_line import help_text
from l2rw_tf.command_line.settings import Settings
from l2rw_tf.errors import RunFailed, UsageError

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 3

_HELP = {
    **dict.fromkeys(("--help", "-help", "-h"), help_text.short),
    **dict.fromkeys(("--helpfull", "-helpfull"), help_text.full),
}


class Stopped(BaseException):
    """A signal asked the process to stop; no `Exception`, so that `except Exception` misses it.

    Attributes:
        signal_name: SIGINT or SIGTERM.
        outcome: A sentence on what happened to the work so far, if known.
    """

    def __init__(self, signal_name: str) -> None:
        """Stores the name of the signal."""
        super().__init__(signal_name)
        self.signal_name = signal_name
        self.outcome = ""


class StopSignal:
    """Handles SIGINT and SIGTERM: at once, or when work that holds them back has been saved.

    Attributes:
        received: The name of the received signal, or None.
        raised: Whether `Stopped` was raised for it.
    """

    def __init__(self) -> None:
        """Starts without a signal."""
        self.forget()

    def forget(self) -> None:
        """Forgets a received signal."""
        self.received: str | None = None
        self.raised = False
        self._is_held_back = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A handler for `signal.signal`; a second signal ends the process at once."""
        if self.received:
            os._exit(STOPPED)
        self.received = signal.Signals(number).name
        if not self._is_held_back:
            self.obey()

    def obey(self) -> None:
        """Raises `Stopped` if a signal was received.

        Raises:
            Stopped: If a signal was received.
        """
        if self.received:
            self.raised = True
            raise Stopped(self.received)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """A scope in which a signal waits until `obey` is called or the scope ends."""
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False
        self.obey()


stop_signal = StopSignal()


def run(
    arguments: Sequence[str],
    work: Callable[[Sequence[str]], int | None],
    *,
    usage: str,
    flags: Sequence[type[Settings]],
    when_stopped: str,
) -> int:
    """Runs a program: prints its help, or does its work and turns errors into exit codes.

    Args:
        arguments: The command line without the program's name.
        work: Takes the arguments; returns an exit code, or None for 0.
        usage: What the program does and how it is called, for its help.
        flags: The classes whose fields are its flags, the program's own first.
        when_stopped: A sentence on what happened to the work so far, to print after a signal.

    Returns:
        0 after finished work or --help, 1 after a failure at run time, 2 for flags or data that
        cannot be used, 3 after SIGINT or SIGTERM.
    """
    try:
        if asked := [argument for argument in arguments if argument in _HELP]:
            print(_HELP[asked[0]](usage, *flags), flush=True)
            return DONE
        with _stopped_by_signals():
            return work(arguments) or DONE
    except BrokenPipeError:
        # The reader of the output is gone; without this, Python would report it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return _end(UNUSABLE, str(error))
    except RunFailed as error:
        return _end(FAILED, str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _end(FAILED, f"{place}{error.strerror or error}.")
    except MemoryError:
        return _end(FAILED, _OUT_OF_MEMORY)
    except Stopped as stopped:
        return _end(STOPPED, f"stopped by {stopped}: {stopped.outcome or when_stopped}")
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return _end(FAILED, _OUT_OF_MEMORY)
        raise


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raises `Stopped` at SIGINT or SIGTERM; a second signal ends the process at once."""
    stop_signal.forget()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, stop_signal.handle) for number in numbers}
    try:
        yield
    except Exception as error:
        # C++ code between the signal and here may have turned `Stopped` into another exception.
        if stop_signal.raised:
            raise Stopped(stop_signal.received) from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        stop_signal.forget()


_OUT_OF_MEMORY = "out of memory: try a smaller --batch_size, --clean_batch_size or --network."


def _end(code: int, sentence: str) -> int:
    """Prints the sentence as one line, with any list below it, and returns the exit code."""
    lines = (" ".join(line.split()) for line in sentence.split("\n  "))
    print("l2rw:", "\n  ".join(lines), file=sys.stderr)
    return code
