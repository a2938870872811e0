"""The training program: `python -m l2rw_tf.main --flagfile=configs/NAME.cfg [--flag=value ...]`."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

from l2rw_tf.command_line import program, settings
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import config
from l2rw_tf.runs.run_directory import RunDirectory

USAGE = """\
Trains a network on data whose labels may be wrong, with example weights learned from a few clean
examples (Ren et al., ICML 2018), evaluates it and fills a run directory.

usage: python -m l2rw_tf.main [--flagfile=FILE] [--flag=value ...]
   e.g. python -m l2rw_tf.main --flagfile=configs/digits_noisy.cfg --seed=1
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        0 after a finished run and after --help, 1 after a failure at run time, 2 for flags or data
        that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _train,
        help_text=lambda: settings.help_text(USAGE, config.RunConfig),
        when_stopped="nothing was trained yet.",
    )


def _train(arguments: Sequence[str]) -> None:
    given = config.from_arguments(arguments, lambda run_dir: RunDirectory(run_dir).read_flags())
    _prepare_tensorflow()
    # They import TensorFlow.
    from l2rw_tf.report import run_report
    from l2rw_tf.runs import run

    run.run(given, run_report.write)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
