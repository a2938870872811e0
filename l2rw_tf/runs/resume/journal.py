"""What a run has done so far, as its checkpoints hold it."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import RunFailed
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.epoch_record import Row
from l2rw_tf.runs.resume.checkpoints import Checkpoint, Checkpoints
from l2rw_tf.runs.training import Training, build_network

# Of finished trainings: the one is kept as arrays; only the run's own, the last, has the other.
_NOT_IN_JSON = ("network", "example_record")


@dataclasses.dataclass(frozen=True)
class NewRate:
    """A learning rate that a run was resumed with instead of its own.

    Attributes:
        method: The training that was under way.
        after_step: The steps of it that were taken at the rate before.
        learning_rate: The rate from there on, for all that follows.
    """

    method: str
    after_step: int
    learning_rate: float


class Journal:
    """The trainings of a run that are finished, and the checkpoint of the one under way.

    Attributes:
        config: The settings, with the learning rate that the run proceeds with.
        new_rates: How it came to that one.
        finished: The finished trainings by method.
        damaged: A sentence for each damaged checkpoint that was passed over.
        saved: The checkpoint that the run resumes from, or None if it begins.
    """

    def __init__(self, checkpoints: Checkpoints, config: RunConfig, data: PreparedData) -> None:
        """Reads the newest whole checkpoint, if there is one, and the finished trainings.

        Args:
            checkpoints: Those of the run.
            config: The settings given.
            data: The data of the run.

        Raises:
            RunFailed: If the checkpoint is of other data.
        """
        self._checkpoints = checkpoints
        self._data = _digest(data)
        self.saved = checkpoints.newest()
        finished = checkpoints.finished()
        self.damaged = checkpoints.damaged
        read = [*finished, *([self.saved] if self.saved else [])]
        if any(one.progress["data"] != self._data for one in read):
            raise RunFailed(
                f"{data.source.name} is not what it was when the checkpoints in {checkpoints.path} "
                "were written: the run can only be resumed with the same data."
            )
        newest = read[-1] if read else None
        try:
            rates = newest.progress["new_rates"] if read else []
            self.new_rates = [NewRate(**one) for one in rates]
            self.config = self._with_rate(config, newest)
            self.finished = {one.progress["method"]: self._training(one, data) for one in finished}
        except (KeyError, TypeError) as error:
            raise RunFailed(
                f"The checkpoints in {checkpoints.path} are not of this version of l2rw_tf: resume "
                "with the one that wrote them, or begin a run in a new directory."
            ) from error

    @property
    def rows(self) -> list[Row]:
        """The rows of metrics.csv up to the checkpoint."""
        rows = [row for training in self.finished.values() for row in training.epochs]
        under_way = self.saved and self.saved.progress["method"] not in self.finished
        return rows + (self.saved.progress["record"]["rows"] if under_way else [])

    def saved_of(self, method: str) -> Checkpoint | None:
        """Returns the checkpoint that the training with a method resumes from, or None."""
        return self.saved if self.saved and self.saved.progress["method"] == method else None

    def save(self, method: str, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint of the run.

        Args:
            method: The method of the training under way.
            checkpoint: That of this training.

        Raises:
            OSError: If it cannot be written.
        """
        steps = sum(training.steps for training in self.finished.values()) + checkpoint.step
        progress = {**checkpoint.progress, **self._progress(method, checkpoint.step)}
        self._checkpoints.save(Checkpoint(steps, progress, checkpoint.arrays))

    def finish(self, training: Training) -> None:
        """Notes a finished training; if others follow, it is written, once, for when they resume.

        Raises:
            OSError: If it cannot be written.
        """
        self.finished[training.method] = training
        if training.method == self.config.method:
            return
        names = {field.name for field in dataclasses.fields(training)} - {*_NOT_IN_JSON}
        progress = {
            "training": {name: getattr(training, name) for name in sorted(names)},
            **self._progress(training.method, training.steps),
        }
        weights = enumerate(training.network.get_weights())
        arrays = {f"{number:04}": values for number, values in weights}
        left = Checkpoint(training.steps, progress, arrays)
        self._checkpoints.save_finished(training.method, left)

    def _progress(self, method: str, steps: int) -> dict[str, object]:
        new_rates = [dataclasses.asdict(one) for one in self.new_rates]
        return {"method": method, "steps": steps, "data": self._data, "new_rates": new_rates}

    def _training(self, left: Checkpoint, data: PreparedData) -> Training:
        network = build_network(self.config, data)
        network.set_weights([left.arrays[name] for name in sorted(left.arrays)])
        return Training(**left.progress["training"], network=network, example_record=None)

    def _with_rate(self, config: RunConfig, newest: Checkpoint | None) -> RunConfig:
        """Returns the settings with the learning rate from here on, which is noted if it is new."""
        asked = config.resume_learning_rate
        rate = self.new_rates[-1].learning_rate if self.new_rates else config.learning_rate
        if asked is not None and asked != rate:
            rate = asked
            progress = newest.progress if newest else {"method": config.method, "steps": 0}
            self.new_rates.append(NewRate(progress["method"], progress["steps"], rate))
        if rate == config.learning_rate:
            return config
        tuning = config.finetune_learning_rate
        return dataclasses.replace(
            config,
            learning_rate=rate,
            finetune_learning_rate=None if tuning is None else min(tuning, rate),
        )


def _digest(data: PreparedData) -> str:
    """Stands for the data: its name, all labels, and the figures of its inputs."""
    parts = data.splits
    digest = hashlib.sha256(data.source.name.encode())
    arrays = [data.preprocessing.mean, data.preprocessing.standard_deviation]
    of_run = [parts.train, parts.clean, parts.validation, parts.test, parts.trusted_test]
    for examples in of_run:
        arrays += [] if examples is None else [examples.ids, examples.y]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
