"""The training program: `python -m l2rw_tf.main --flagfile=configs/NAME.cfg [--flag=value ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l2rw_tf.command_line import environment, program
from l2rw_tf.runs import config
from l2rw_tf.runs.run_directory import RunDirectory

USAGE = """\
Trains a network on data with noisy labels, with example weights learned from a few clean examples
(Ren et al., ICML 2018), evaluates it and writes a run directory.

usage: python -m l2rw_tf.main [--flagfile=FILE] [--flag=value ...]
   e.g. python -m l2rw_tf.main --flagfile=configs/digits_noisy.cfg --seed=1
        python -m l2rw_tf.main --dataset=photos --clean_data=checked --with_plain
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 after a finished run or --help, 1 after a failure at run time, 2 for flags
        or data that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _train,
        usage=USAGE,
        flags=(config.RunConfig,),
        when_stopped="nothing was trained yet.",
    )


def _train(arguments: Sequence[str]) -> None:
    given = config.from_arguments(arguments, lambda run_dir: RunDirectory(run_dir).read_flags())
    environment.prepare_tensorflow()
    # These import TensorFlow.
    from l2rw_tf.report import run_report
    from l2rw_tf.runs import run

    run.run(given, run_report.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
