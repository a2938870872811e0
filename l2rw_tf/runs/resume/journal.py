"""The progress of a run, as stored in its checkpoints."""

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

# Fields of a finished training that are not in progress.json: the network is stored as arrays, and
# only the run's own training, which is the last and never stored here, has a record.
_NOT_IN_JSON = ("network", "example_record")


@dataclasses.dataclass(frozen=True)
class NewRate:
    """A change of the learning rate when a run was resumed.

    Attributes:
        method: The training that was interrupted.
        after_step: The last step of this training with the previous rate.
        learning_rate: The rate of all following steps, also of later trainings.
    """

    method: str
    after_step: int
    learning_rate: float


class Journal:
    """The finished trainings of a run, and the checkpoint of the current one.

    Attributes:
        config: The settings, with the current learning rate.
        new_rates: All changes of the learning rate, in order.
        finished: The finished trainings by method.
        damaged: A sentence for each damaged checkpoint that was skipped.
        saved: The checkpoint that the run resumes from; None for a new run.
    """

    def __init__(self, checkpoints: Checkpoints, config: RunConfig, data: PreparedData) -> None:
        """Reads the newest intact checkpoint, if there is one, and the finished trainings.

        Args:
            checkpoints: The checkpoints of the run.
            config: The settings as given.
            data: The data of the run.

        Raises:
            RunFailed: If the checkpoints are from other data or another version of l2rw_tf.
        """
        self._checkpoints = checkpoints
        self._data = _digest(data)
        self.saved = checkpoints.newest()
        finished = checkpoints.finished()
        self.damaged = checkpoints.damaged
        read = [*finished, *([self.saved] if self.saved else [])]
        if any(one.progress["data"] != self._data for one in read):
            raise RunFailed(
                f"{data.source.name} has changed since the checkpoints in {checkpoints.path} were "
                "written: the run can only be resumed with the same data."
            )
        newest = read[-1] if read else None
        try:
            rates = newest.progress["new_rates"] if read else []
            self.new_rates = [NewRate(**one) for one in rates]
            self.config = self._with_rate(config, newest)
            self.finished = {one.progress["method"]: self._training(one, data) for one in finished}
        except (KeyError, TypeError) as error:
            raise RunFailed(
                f"The checkpoints in {checkpoints.path} are from another version of l2rw_tf: "
                "resume with that version, or start a run in a new directory."
            ) from error

    @property
    def rows(self) -> list[Row]:
        """The rows of metrics.csv up to the checkpoint."""
        rows = [row for training in self.finished.values() for row in training.epochs]
        under_way = self.saved and self.saved.progress["method"] not in self.finished
        return rows + (self.saved.progress["record"]["rows"] if under_way else [])

    def saved_of(self, method: str) -> Checkpoint | None:
        """Returns the checkpoint from which the training of a method resumes, or None."""
        return self.saved if self.saved and self.saved.progress["method"] == method else None

    def save(self, method: str, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint of the run.

        Args:
            method: The method of the current training.
            checkpoint: The checkpoint of this training.

        Raises:
            OSError: If it cannot be written.
        """
        steps = sum(training.steps for training in self.finished.values()) + checkpoint.step
        progress = {**checkpoint.progress, **self._progress(method, checkpoint.step)}
        self._checkpoints.save(Checkpoint(steps, progress, checkpoint.arrays))

    def finish(self, training: Training) -> None:
        """Adds a finished training; if another follows, also saves it for when that one resumes.

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
        """Returns the settings with the current learning rate; records a change of it."""
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
    """Returns a hash of the data: name, ids and labels of all parts, statistics of the inputs."""
    parts = data.splits
    digest = hashlib.sha256(data.source.name.encode())
    arrays = [data.preprocessing.mean, data.preprocessing.standard_deviation]
    of_run = [parts.train, parts.clean, parts.validation, parts.test, parts.trusted_test]
    for examples in of_run:
        arrays += [] if examples is None else [examples.ids, examples.y]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
