"""Runs PyTorch's steps in a separate process, since the threads of two libraries would compete."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.timing import Take

NETWORKS = ("lenet", "resnet32")


@contextlib.contextmanager
def torch_step(name: str, batch: int, clean: int) -> Iterator[Take]:
    """Starts a process and yields a function that makes it take steps.

    Args:
        name: One of `NETWORKS`.
        batch: Size of the training batch.
        clean: Size of the clean batch, or 0 for a plain step.
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
