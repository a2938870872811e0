"""Training steps in separate processes: threads of two libraries hinder each other.

`serve` is the side of the process: each line on standard input is a request, answered by a line of
JSON. `Peer` is the side that asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

_NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
# All processes share the GPU: none may take its memory before it needs it.
_SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Steps(Protocol):
    """What a peer does when it is asked to."""

    def take(self, steps: int) -> None:
        """Takes so many steps and returns when the device has done them."""

    def check(self) -> Sequence[float]:
        """Returns u at the current parameters, of a plain step the losses; may take a step."""

    def gpu_bytes(self) -> int | None:
        """Returns the peak of the GPU's memory, or None without a GPU."""


def serve(steps: Steps) -> None:
    """Answers requests until there are no more."""
    for line in sys.stdin:
        request, answer = line.strip(), None
        if request == "check":
            answer = [float(one) for one in steps.check()]
        elif request == "memory":
            gpu = steps.gpu_bytes()
            answer = {"resident": peak_resident(), "gpu": None if gpu is None else gpu / 2**20}
        else:
            steps.take(int(request))
        print(json.dumps(answer), flush=True)


def peak_resident() -> float:
    """Returns the peak of this process's resident set in MiB.

    Not `ru_maxrss` if the system has better: on Linux a process inherits it from the one that
    started it, which may be larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Peer:
    """A process that takes steps when it is asked to, and waits meanwhile."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, request: str) -> Any:
        """Returns the answer to "check", "memory" or a number of steps."""
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self._process.args)} ended.")
        return json.loads(answer)

    def take(self, steps: int) -> None:
        """Lets it take so many steps."""
        self.ask(str(steps))


@contextlib.contextmanager
def started(program: str, *arguments: object, gpu: bool = False) -> Iterator[Peer]:
    """Starts a program of benchmarks/ that serves.

    Args:
        program: The name of its file.
        *arguments: Its arguments.
        gpu: Whether it may see a GPU.
    """
    command = [sys.executable, "-m", f"benchmarks.{program}", *map(str, arguments)]
    environment = os.environ | (_SHARED_GPU if gpu else _NO_GPU)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Peer(process)
