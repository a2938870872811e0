"""What the programs have in common: exit codes, signals, and one clear line for what went wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from l2rw_tf.errors import TrainingDiverged, UsageError

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 3


class Stopped(BaseException):
    """The process was asked to end by a signal; no `except Exception` on the way holds it up."""


def run(
    arguments: Sequence[str],
    work: Callable[[Sequence[str]], int | None],
    *,
    help_text: Callable[[], str],
    when_stopped: str,
) -> int:
    """Runs a program: prints its help, or does its work and turns errors into exit codes.

    Args:
        arguments: The command line without the program's name.
        work: Is given them; returns an exit code, or None for 0.
        help_text: Gives what `--help` prints.
        when_stopped: What is said of the work so far after a signal: a sentence.

    Returns:
        0 after finished work and after --help, 1 after a failure at run time, 2 for flags or data
        that cannot be used, 3 after SIGINT or SIGTERM.
    """
    try:
        if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in arguments):
            print(help_text(), flush=True)
            return DONE
        with _stopped_by_signals():
            return work(arguments) or DONE
    except BrokenPipeError:
        # Whoever read the output is gone; Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return _end(UNUSABLE, str(error))
    except TrainingDiverged as error:
        return _end(FAILED, str(error))
    except OSError as error:
        return _end(FAILED, _of_the_system(error))
    except MemoryError:
        return _end(FAILED, _OUT_OF_MEMORY)
    except Stopped as stopped:
        return _end(STOPPED, f"stopped by {stopped}: {when_stopped}")
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return _end(FAILED, _OUT_OF_MEMORY)
        raise


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raises `Stopped` at SIGINT or SIGTERM; a second signal ends the process at once."""
    received: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(STOPPED)
        received.append(signal.Signals(number).name)
        raise Stopped(received[0])

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        # C++ code between the signal and here may have made another exception of it.
        if received:
            raise Stopped(received[0]) from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_OUT_OF_MEMORY = "out of memory: try a smaller --batch_size, --clean_batch_size or --network."


def _of_the_system(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."


def _end(code: int, sentence: str) -> int:
    """Prints the sentence as one line and gives the code back."""
    print("l2rw:", " ".join(sentence.split()), file=sys.stderr)
    return code
