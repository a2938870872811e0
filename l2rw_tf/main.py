"""The training program: `python -m l2rw_tf.main --flagfile=configs/NAME.cfg [--flag=value ...]`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import FrameType

from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.experiment import config

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 3

USAGE = """\
Trains a network on data whose labels may be wrong, with example weights learned from a few clean
examples (Ren et al., ICML 2018), evaluates it and fills a run directory.

usage: python -m l2rw_tf.main [--flagfile=FILE] [--flag=value ...]
   e.g. python -m l2rw_tf.main --flagfile=configs/digits_noisy.cfg --seed=1
"""


class Stopped(BaseException):
    """The process was asked to end by a signal; no `except Exception` on the way holds it up."""


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        0 after a finished run and after --help, 1 after a failure at run time, 2 for flags or data
        that cannot be used, 3 after SIGINT or SIGTERM.
    """
    try:
        if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in arguments):
            print(config.help_text(USAGE), flush=True)
            return DONE
        with _stopped_by_signals():
            _train(arguments)
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
        return _end(STOPPED, f"stopped by {stopped}: what was trained so far is not finished.")
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return _end(FAILED, _OUT_OF_MEMORY)
        raise
    return DONE


def _train(arguments: Sequence[str]) -> None:
    settings = config.from_arguments(arguments)
    _prepare_tensorflow()
    from l2rw_tf.experiment import run

    run.run(settings)


def _prepare_tensorflow() -> None:
    """Settles what TensorFlow and Keras take from the environment, and imports without log lines.

    Raises:
        UsageError: If another Keras backend is asked for.
    """
    backend = os.environ.get("KERAS_BACKEND", "")
    if backend not in ("", "tensorflow"):
        raise UsageError(
            f"KERAS_BACKEND={backend} cannot be used: set it to tensorflow or leave it out."
        )
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        with _quiet_standard_error():
            import tensorflow  # noqa: F401


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Holds back what C++ code prints in this scope, and prints it after all if the scope fails.

    TensorFlow logs some lines at its import whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    with tempfile.TemporaryFile() as held_back:
        standard_error = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
