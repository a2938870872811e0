"""The devices and workers that share a run.

Each worker runs the same program on the same data. The chief, the first of them, writes the files
of the run; the others do the same steps and write nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Iterator, Mapping

import tensorflow as tf

from l2rw_tf.errors import RunFailed, UsageError
from l2rw_tf.reweighting.keras_internals import is_multi_worker
from l2rw_tf.runs.config import MIRRORED, MULTI_WORKER, NONE

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Worker:
    """The position of this process among the workers of a run.

    Attributes:
        addresses: HOST:PORT of every worker; empty if there is only one process.
        index: The index of this process in `addresses`.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.index == 0

    @property
    def others(self) -> str:
        """The addresses of the other workers, for messages."""
        others = [address for i, address in enumerate(self.addresses) if i != self.index]
        return ", ".join(others)


def this_worker(kind: str, environment: Mapping[str, str] = os.environ) -> Worker:
    """Reads from TF_CONFIG which worker this process is, before TensorFlow does.

    Args:
        kind: One of `config.DISTRIBUTIONS`.
        environment: The environment variables.

    Raises:
        UsageError: If several workers are asked for and TF_CONFIG is missing or wrong.
    """
    if kind != MULTI_WORKER:
        return Worker()
    text = environment.get("TF_CONFIG", "")
    if not text:
        raise UsageError(f"distribution=multi_worker needs TF_CONFIG, such as {_EXAMPLE}.")
    try:
        cluster, task = (json.loads(text)[part] for part in ("cluster", "task"))
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        before = len(cluster["chief"]) if task["type"] == "worker" and "chief" in cluster else 0
        index = before + int(task["index"])
        fits = set(cluster) <= {"chief", "worker"} and task["type"] in cluster
        if not fits or not 0 <= task["index"] < len(cluster[task["type"]]):
            raise ValueError("no such task")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"TF_CONFIG must name all workers and the index of this one, like {_EXAMPLE}, got "
            f"{text!r}."
        ) from error
    return Worker(tuple(addresses), index)


@contextlib.contextmanager
def scope(kind: str, worker: Worker) -> Iterator[None]:
    """A scope in which models are distributed over the devices; it waits for all workers.

    Args:
        kind: One of `config.DISTRIBUTIONS`.
        worker: This process.

    Raises:
        RunFailed: If the connection to another worker is lost.
    """
    if kind == NONE:
        yield
        return
    if worker.others:
        print(f"waiting for the other workers: {worker.others}", flush=True)
    try:
        with _strategy(kind).scope():
            yield
            # The cluster ends with its first worker, which therefore waits for the others here.
            any_worker(False)
    except Exception as error:
        if not worker.others or not _is_loss_of_worker(error):
            raise
        raise RunFailed(
            f"The connection to another worker of the run ({worker.others}) is lost: start all "
            "workers again with --resume and the --run_dir of the run."
        ) from error


def any_worker(value: bool) -> bool:
    """Returns whether a value is true on any worker; all workers must call this at the same step.

    Args:
        value: The value on this worker.
    """
    if not has_several_workers():
        return value
    return bool(
        tf.distribute.get_strategy().reduce("SUM", tf.constant(float(value)), axis=None) > 0
    )


def has_several_workers() -> bool:
    """Returns whether this is called in the scope of several workers."""
    return is_multi_worker(tf.distribute.get_strategy())


def _strategy(kind: str) -> tf.distribute.Strategy:
    if kind == MIRRORED:
        return tf.distribute.MirroredStrategy()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # TensorFlow has replaced the C-level handler of this signal: install Python's again.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return strategy


def _is_loss_of_worker(error: Exception) -> bool:
    """Whether TensorFlow raised this because a collective operation or health check failed."""
    kinds = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError")
    return type(error).__name__ in kinds or "ollective ops is aborted" in str(error)
