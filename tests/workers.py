"""Processes that are the workers of one cluster on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def running(arguments_of: Sequence[Sequence[str]], logs: Path) -> Iterator[list[subprocess.Popen]]:
    """Runs `python ARGUMENTS` for each worker, output and errors in logs/INDEX.out and .err."""
    # Which the program sets by itself where it is not set.
    environment = {key: text for key, text in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    sockets = [socket.socket() for _ in arguments_of]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    processes = []
    for index, arguments in enumerate(arguments_of):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        with (logs / f"{index}.out").open("w") as out, (logs / f"{index}.err").open("w") as err:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    env={**environment, "TF_CONFIG": json.dumps(config)},
                    cwd=ROOT,
                    stdout=out,
                    stderr=err,
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
