"""The comparing program: `python -m l2rw_tf.compare --flagfile=configs/NAME.cfg [--flag=value]`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from l2rw_tf.command_line import program, settings
from l2rw_tf.comparison.plan import ComparisonConfig, check_directories, plan
from l2rw_tf.runs.config import RunConfig

USAGE = """\
Compares methods over seeds, each run a process of its own in a directory of its own, and writes one
table and one figure. Started again, it keeps finished runs, resumes others and does the rest.

usage: python -m l2rw_tf.compare [--flagfile=FILE] [--flag=value ...]
   e.g. python -m l2rw_tf.compare --methods=plain,l2rw,l2rw:meta_variables=head --seeds=0,1,2 \\
            --noise_type=background --sweep=noise_ratio=0,0.2,0.4 --epochs=20

The flags of a run (--dataset, --noise_type, --network, --epochs, ...; those that are used most:
python -m l2rw_tf.main --help) are those of every run of the comparison.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        0 after a finished comparison and after --help, 1 if a row of the table lacks runs because
        they failed, 2 for flags or data that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _compare,
        usage=USAGE,
        flags=(ComparisonConfig, RunConfig),
        when_stopped="all runs are saved, the same command resumes the comparison.",
    )


def _compare(arguments: Sequence[str]) -> int:
    comparison, base = settings.from_arguments(arguments, ComparisonConfig, RunConfig)
    planned = plan(comparison, base)
    check_directories(planned)
    from l2rw_tf.comparison import jobs
    from l2rw_tf.comparison.comparison import compare

    command = shlex.join(["python", "-m", "l2rw_tf.compare", *arguments])
    with jobs.processes(planned) as execute:
        incomplete = compare(planned, execute, command)
    if incomplete:
        print("l2rw:", " ".join(incomplete), file=sys.stderr)
        return program.FAILED
    return program.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
