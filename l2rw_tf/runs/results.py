"""results.json: what came out of a run, with its one writer and its one reader."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2rw_tf.data.settings import AS_GIVEN, TRUE
from l2rw_tf.errors import UsageError
from l2rw_tf.runs.paired import Difference
from l2rw_tf.runs.run_directory import RunDirectory, damaged

NAME = "results.json"
# A copy of the results of the run whose report gave this run's corrections.
REVIEWED = "reviewed_run.json"
# The part of the data, in `TrainingResults.examples`, that `trusted_accuracy` is on.
HELD_OUT_TRUSTED = "held-out trusted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochResults:
    """The network at the end of an epoch."""

    epoch: int
    test_accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenEpoch:
    """The epoch that some labels choose, the first of equally good ones.

    Attributes:
        epoch: Counted from 1.
        validation_accuracy: On the labels that choose.
        test_accuracy: At its end.
        validation_labels: Held-out ones, "corrupted" like those trained on or "as given", or those
            of the "clean" examples.
        trusted_accuracy: At its end, on held-out trusted examples if there are any.
    """

    epoch: int
    validation_accuracy: float
    test_accuracy: float
    validation_labels: str
    trusted_accuracy: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResults:
    """One training of a run. Each field is a key of results.json.

    Attributes:
        dataset: What was trained on.
        requested_dataset: What --dataset asked for.
        method, seed, network, noise_type, noise_ratio, imbalance_type, imbalance_ratio: The flags.
        test_accuracy, test_loss: Of the network as it was saved; the loss is the cross-entropy.
        test_labels: "true"; "trusted" if the test data are the held-out trusted examples; "as
            given" if they may be wrong: then `test_accuracy` is agreement and no accuracy.
        trusted_accuracy, trusted_accuracy_error: On held-out trusted examples, with its standard
            error; None if there are none.
        suspected_labels: Of the training examples, by label quality; of the run's own method.
        validation_accuracy: The same network's on the held-out labels, or None if there are none.
        last_epoch: The network when training ended.
        chosen_by_validation: The epoch that held-out labels choose, or None if there are none.
        chosen_by_clean: The epoch that the clean examples choose, or None if there are none or the
            method trains on them.
        train_seconds: Time spent on training steps.
        step_seconds: Median time of a step.
        epochs, steps: Of all phases.
        skipped_steps: Steps dropped because they met NaN or infinity.
        parameters: Number of the network's parameters.
        wrong_label_share: The fraction of training labels that are wrong, or None if unknown.
        class_names: By label.
        feature_names: Of a table, in the order of the network's inputs; empty for images.
        training_class_counts: Training examples by given label.
        examples: Number of examples by part: training, clean, validation, test.
        device, versions: What it was trained on and with.
        new_learning_rates: Of --resume_learning_rate: method, step after which, and rate.
        heading: Data, noise and seed in words.
        test_confusion: Test examples by true (rows) and predicted class.
    """

    dataset: str
    requested_dataset: str
    method: str
    seed: int
    test_accuracy: float
    test_loss: float
    validation_accuracy: float | None
    last_epoch: EpochResults
    chosen_by_validation: ChosenEpoch | None
    train_seconds: float
    step_seconds: float
    epochs: int
    steps: int
    skipped_steps: int
    network: str
    parameters: int
    noise_type: str
    noise_ratio: float
    wrong_label_share: float | None
    imbalance_type: str
    imbalance_ratio: float
    class_names: list[str]
    training_class_counts: list[int]
    examples: dict[str, int]
    device: str
    versions: dict[str, str]
    # Runs of earlier versions lack these.
    new_learning_rates: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    heading: str = ""
    test_confusion: list[list[int]] = dataclasses.field(default_factory=list)
    feature_names: list[str] = dataclasses.field(default_factory=list)
    test_labels: str = TRUE
    trusted_accuracy: float | None = None
    trusted_accuracy_error: float | None = None
    suspected_labels: int | None = None
    chosen_by_clean: ChosenEpoch | None = None

    @property
    def accuracy(self) -> float | None:
        """On labels that are known to be right; None if there are none."""
        return self.trusted_accuracy if self.test_labels == AS_GIVEN else self.test_accuracy


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResults(TrainingResults):
    """A run: the results of its method and, with --with_plain, of plain training.

    Attributes:
        plain: Those of plain training, or None.
        against_plain: How much better the run's own network is than the plainly trained one, on
            what accuracy is measured on; None without one of them.
    """

    plain: TrainingResults | None = None
    against_plain: Difference | None = None

    @property
    def trainings(self) -> dict[str, TrainingResults]:
        """The results by method, the run's own last."""
        return {one.method: one for one in (self.plain, self) if one is not None}


# The classes of what is an object in the file.
_OBJECTS = {
    "last_epoch": EpochResults,
    "chosen_by_validation": ChosenEpoch,
    "chosen_by_clean": ChosenEpoch,
    "plain": TrainingResults,
    "against_plain": Difference,
}


def write(directory: RunDirectory, results: RunResults) -> None:
    """Writes results.json."""
    content = dataclasses.asdict(results)
    if results.plain is None:
        del content["plain"], content["against_plain"]
    directory.write_json(NAME, content)


def read(directory: Path | str, name: str = NAME) -> RunResults:
    """Reads results.json.

    Args:
        directory: The directory of a finished run.
        name: Of the file, if it is a copy of another run's.

    Raises:
        UsageError: If it is none, or the file is damaged or of another version.
    """
    path = Path(directory) / name
    try:
        return _parsed(RunResults, json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.parent.is_dir():
            reason = "holds no finished run: there is no results.json in it."
            if RunDirectory(directory).is_begun:
                reason = (
                    "holds a run that is not finished; if it was interrupted, resume it: "
                    f"python -m l2rw_tf.main --resume --run_dir={directory}"
                )
        else:
            reason = "is not a directory: name one that a run filled."
        raise UsageError(f"run_dir={directory} {reason}") from error
    except (OSError, ValueError, TypeError) as error:
        raise damaged(path, "it is not what a run of this version writes") from error


def _parsed(kind: type, content: Mapping[str, Any]) -> Any:
    """Makes a dataclass from a JSON object; keys that it does not know are left out."""
    values = {
        field.name: content[field.name]
        for field in dataclasses.fields(kind)
        if field.name in content
    }
    for name in _OBJECTS.keys() & values.keys():
        if values[name] is not None:
            values[name] = _parsed(_OBJECTS[name], values[name])
    return kind(**values)


def standard_error(accuracy: float, number: int) -> float:
    """Returns the standard error of an accuracy on so many examples.

    It is the binomial one, with one more right and one more wrong example (Laplace's estimate), so
    that it is not 0 if all of a few are right.
    """
    share = (accuracy * number + 1) / (number + 2)
    return math.sqrt(share * (1 - share) / number)


def percent(fraction: float) -> str:
    """Returns a fraction in percent, as the programs print it: 98.1%."""
    return f"{fraction:.1%}"
