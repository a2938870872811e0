"""What a run has done so far, as its checkpoints hold it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import RunFailed
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.resume.checkpoints import Checkpoint, Checkpoints
from l2rw_tf.runs.training import Training, build_network

# Of finished trainings: the one is kept as arrays; only the last training has the other.
_NOT_IN_JSON = ("network", "example_record")


class Journal:
    """The trainings of a run that are finished, and the checkpoint of the one under way.

    Attributes:
        config: The settings, with the learning rate that the run goes on with.
        finished: The finished trainings by method.
        damaged: A sentence for each damaged checkpoint that was passed over.
        saved: The checkpoint that the run goes on from, or None where it begins.
    """

    def __init__(self, checkpoints: Checkpoints, config: RunConfig, data: PreparedData) -> None:
        """Reads the newest whole checkpoint, if there is one.

        Args:
            checkpoints: Those of the run.
            config: The settings given.
            data: The data of the run.

        Raises:
            RunFailed: If the checkpoint is of other data.
        """
        self._checkpoints = checkpoints
        self._data = _digest(data)
        self.saved, self.damaged = checkpoints.newest()
        progress = self.saved.progress if self.saved else {}
        if self.saved and progress["data"] != self._data:
            raise RunFailed(
                f"{data.source.name} is not what it was when {checkpoints.newest_path} was "
                "written: the run can only go on with the same data."
            )
        self.config = _with_learning_rate(
            config, config.resume_learning_rate or progress.get("learning_rate")
        )
        self.finished = {
            one["method"]: self._finished(one, data) for one in progress.get("finished", ())
        }

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.csv up to the checkpoint."""
        rows = [row for training in self.finished.values() for row in training.epochs]
        return rows + (self.saved.progress["record"]["rows"] if self.saved else [])

    def saved_of(self, method: str) -> Checkpoint | None:
        """Returns the checkpoint that the training with a method goes on from, or None."""
        return self.saved if self.saved and self.saved.progress["method"] == method else None

    def save(self, method: str, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint of the run.

        Args:
            method: The method of the training under way.
            checkpoint: That of this training.

        Raises:
            OSError: If it cannot be written.
        """
        progress = {
            "method": method,
            "learning_rate": self.config.learning_rate,
            "data": self._data,
            "finished": [_in_json(training) for training in self.finished.values()],
        }
        arrays = {
            f"{training.method}/{number:04}": values
            for training in self.finished.values()
            for number, values in enumerate(training.network.get_weights())
        }
        steps = sum(training.steps for training in self.finished.values()) + checkpoint.step
        self._checkpoints.save(
            Checkpoint(steps, {**checkpoint.progress, **progress}, {**checkpoint.arrays, **arrays})
        )

    def _finished(self, saved: Mapping[str, Any], data: PreparedData) -> Training:
        network = build_network(self.config, data)
        prefix = f"{saved['method']}/"
        names = sorted(name for name in self.saved.arrays if name.startswith(prefix))
        network.set_weights([self.saved.arrays[name] for name in names])
        return Training(**saved, network=network, example_record=None)


def _with_learning_rate(config: RunConfig, rate: float | None) -> RunConfig:
    if rate is None or rate == config.learning_rate:
        return config
    tuning = config.finetune_learning_rate
    return dataclasses.replace(
        config,
        learning_rate=rate,
        finetune_learning_rate=None if tuning is None else min(tuning, rate),
    )


def _in_json(training: Training) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(training))
    return {name: getattr(training, name) for name in names if name not in _NOT_IN_JSON}


def _digest(data: PreparedData) -> str:
    """Stands for the data: its name, all labels, and the figures of its inputs."""
    parts = data.splits
    digest = hashlib.sha256(data.source.name.encode())
    arrays = [data.preprocessing.mean, data.preprocessing.standard_deviation]
    for examples in (parts.train, parts.clean, parts.validation, parts.test):
        arrays += [examples.ids, examples.y]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
