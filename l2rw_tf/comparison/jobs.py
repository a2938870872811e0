"""Executes the runs of a comparison as processes, several in parallel."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from l2rw_tf.comparison.plan import Plan, Run
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import lock
from l2rw_tf.runs.run_directory import RunDirectory

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_STOP = 20.0


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        exit_code: The exit code of `l2rw_tf.main`.
        complaint: The error message, in one line.
        seconds: The duration of the run.
    """

    exit_code: int
    complaint: str = ""
    seconds: float = 0.0


# Executes a run; stops it early if the event is set.
Execute = Callable[[Run, threading.Event], Ended]


def run_all(
    runs: Sequence[Run], execute: Execute, jobs: int, finished: Callable[[Run, Ended], None]
) -> None:
    """Executes all runs, some in parallel; in case of an error, the others are stopped.

    Args:
        runs: The runs, in the order in which they are started.
        execute: Executes one run; called in a separate thread.
        jobs: The number of parallel runs.
        finished: Called after each run; the next run starts when it returns.
    """
    stopping = threading.Event()
    waiting, running = deque(runs), {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.popleft()
                    running[pool.submit(execute, run, stopping)] = run
                # The timeout is for Windows, where a signal is handled only between two waits.
                done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    finished(running.pop(future), future.result())
        finally:
            stopping.set()


@contextlib.contextmanager
def processes(plan: Plan) -> Iterator[Execute]:
    """Yields a function that executes a run as a process of `l2rw_tf.main`.

    The output of a run goes to logs/NAME.log. Unfinished runs are resumed. The directory is locked
    against other comparisons; runs that a killed comparison left running are waited for.

    Raises:
        UsageError: If the directory, or that of a run, is in use or cannot be created.
    """
    for part in ("runs", "logs"):
        try:
            (plan.directory / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"compare_dir={plan.directory} cannot be created: {error.strerror}."
            ) from error
    with lock.hold(plan.directory):
        for run in plan.runs.values():
            directory = RunDirectory(plan.run_directory(run))
            if directory.path.is_dir() and not directory.is_finished:
                with lock.hold(directory.path, _SECONDS_TO_STOP):
                    pass
        yield functools.partial(_execute, plan)


def _execute(plan: Plan, run: Run, stopping: threading.Event) -> Ended:
    """Executes a run as a process; closing its standard input stops it."""
    start = time.monotonic()
    path = plan.directory / "logs" / f"{run.name}.log"
    command = [sys.executable, "-m", "l2rw_tf.comparison.tied", "l2rw_tf.main"]
    flags = [*run.config.flag_lines(), f"--run_dir={plan.run_directory(run)}", "--resume"]
    with (
        path.open("wb") as log,
        subprocess.Popen(
            [*command, *flags],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(plan.comparison.jobs),
            # Ctrl-C reaches only the comparison, which then stops its runs.
            start_new_session=True,
        ) as process,
    ):
        while process.poll() is None:
            if stopping.wait(_SECONDS_BETWEEN_LOOKS):
                process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_STOP)
                process.kill()
    complaint = _complaint(path, process.returncode)
    return Ended(process.returncode, complaint, time.monotonic() - start)


def _complaint(path: Path, exit_code: int) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.startswith("l2rw: ")]
    if said:
        return said[-1].removeprefix("l2rw: ")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    return f"{last} (exit code {exit_code}, see {path})"


def _environment(jobs: int) -> dict[str, str]:
    """Returns the environment of a run; parallel runs divide the cores among themselves."""
    environment = dict(os.environ)
    if jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        environment.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    return environment
