"""The comparison: `python -m l2rw_tf.compare --flagfile=configs/NAME.cfg [--flag=value ...]`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from l2rw_tf.command_line import program, settings
from l2rw_tf.comparison.plan import ComparisonConfig, check_directories, plan
from l2rw_tf.runs.config import RunConfig

USAGE = """\
Compares methods over seeds and writes one table and one figure. Each run is a separate process with
its own directory. Started again, the program keeps finished runs and resumes the others.

usage: python -m l2rw_tf.compare [--flagfile=FILE] [--flag=value ...]
   e.g. python -m l2rw_tf.compare --methods=plain,l2rw,l2rw:meta_variables=head --seeds=0,1,2 \\
            --noise_type=background --sweep=noise_ratio=0,0.2,0.4 --epochs=20

The flags of a run (--dataset, --noise_type, --network, --epochs, ...; the most common ones:
python -m l2rw_tf.main --help) apply to every run of the comparison.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the program.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 after a finished comparison or --help, 1 if runs failed and are missing
        from the table, 2 for flags or data that cannot be used, 3 after SIGINT or SIGTERM.
    """
    return program.run(
        arguments,
        _compare,
        usage=USAGE,
        flags=(ComparisonConfig, RunConfig),
        when_stopped="all runs are saved; the same command resumes the comparison.",
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
