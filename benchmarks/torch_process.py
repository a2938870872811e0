"""The same steps in PyTorch, in a process of their own: threads of two libraries hinder each other.

The reweighted step is the look-ahead by nested gradients through `functional_call`. Run as a
program, each line on standard input is a number of steps to take, answered by a line when done.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.timing import Take

NETWORKS = ("lenet", "resnet32")


@contextlib.contextmanager
def torch_step(name: str, batch: int, clean: int) -> Iterator[Take]:
    """Starts a process that takes steps when it is asked to, and waits meanwhile.

    Args:
        name: One of `NETWORKS`.
        batch: Training batch.
        clean: Clean batch, or 0 for a plain step.
    """
    command = [sys.executable, "-m", "benchmarks.torch_program", name, str(batch), str(clean)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def take(steps: int) -> None:
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            if not process.stdout.readline():
                raise RuntimeError(f"{' '.join(command)} ended.")

        take(0)
        yield take
