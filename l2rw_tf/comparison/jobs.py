"""Runs of a comparison as processes, several at once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from l2rw_tf.comparison.plan import Plan, Run
from l2rw_tf.errors import UsageError

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_END = 20.0
_SECONDS_FOR_THE_LOCK = 10.0


class Job(Protocol):
    """A run under way."""

    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""

    def complaint(self) -> str:
        """The line that says what went wrong."""

    def stop(self) -> None:
        """Ends it."""


def work_off(
    runs: Sequence[Run],
    start: Callable[[Run], Job],
    jobs: int,
    finished: Callable[[Run, Job, float], None],
) -> None:
    """Does all runs, some at once; whatever happens, none is left running.

    Args:
        runs: The runs, in the order in which they are started.
        start: Starts a run.
        jobs: How many run at the same time.
        finished: Called after each run with its job and the seconds it took.
    """
    waiting, running = deque(runs), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.popleft()
                # A signal between the start and the note of it would leave the run behind.
                with _signals_held_back():
                    running[run.name] = (run, start(run), time.monotonic())
            ended = [name for name, (_, job, _) in running.items() if job.exit_code() is not None]
            for name in ended:
                run, job, since = running.pop(name)
                finished(run, job, time.monotonic() - since)
            if not ended:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        for _, job, _ in running.values():
            job.stop()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def processes(plan: Plan) -> Iterator[Callable[[Run], Job]]:
    """Gives the function that starts a run as a process of `l2rw_tf.main`.

    What a run prints goes to logs/NAME.log. A directory holds one comparison at a time: it is
    locked, and the processes hold the lock too, so that a comparison that was killed cannot be
    started again before the last run that it left has ended.

    Raises:
        UsageError: If the directory is in use or cannot be made.
    """
    for part in ("runs", "logs"):
        try:
            (plan.directory / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"compare_dir={plan.directory} cannot be made: {error.strerror}."
            ) from error
    with (plan.directory / ".lock").open("w") as lock:
        _take(lock, plan.directory)
        yield lambda run: _Process(plan, run, lock)


class _Process:
    """A run as a process."""

    def __init__(self, plan: Plan, run: Run, lock: IO[str]) -> None:
        directory = plan.run_directory(run)
        # It was not finished, or it would not be started.
        shutil.rmtree(directory, ignore_errors=True)
        self._log = plan.directory / "logs" / f"{run.name}.log"
        command = [sys.executable, "-m", "l2rw_tf.main", *run.config.flag_lines()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--run_dir={directory}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(plan.comparison.jobs),
                pass_fds=[lock.fileno()],
                # Ctrl-C reaches the comparison alone, which then ends its runs.
                start_new_session=True,
                preexec_fn=functools.partial(_prepare, parent=os.getpid()),
            )

    def exit_code(self) -> int | None:
        return self._process.poll()

    def complaint(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if line.startswith("l2rw: ")]
        if said:
            return said[-1].removeprefix("l2rw: ")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        return f"{last} (exit code {self._process.returncode}, see {self._log})"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment(jobs: int) -> dict[str, str]:
    """The environment of a run; several at once share the cores instead of contending for them."""
    environment = dict(os.environ)
    if jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        environment.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    return environment


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _prepare(parent: int) -> None:
    """Prepares a new process: Linux kills it should the comparison die without stopping it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before.
        os._exit(1)


def _take(lock: IO[str], directory: Path) -> None:
    deadline = time.monotonic() + _SECONDS_FOR_THE_LOCK
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"compare_dir={directory} is in use by another comparison, or by a run that "
                    "one left behind: wait for it to end, or name another directory."
                ) from error
            time.sleep(_SECONDS_BETWEEN_LOOKS)
