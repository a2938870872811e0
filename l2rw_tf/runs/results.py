"""results.json, the results of a run: its fields, its only writer and its only reader."""

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
# A copy of the results of the run whose report produced this run's corrections.
REVIEWED = "reviewed_run.json"
# The key in `TrainingResults.examples` of the examples that `trusted_accuracy` is measured on.
HELD_OUT_TRUSTED = "held-out trusted"
# A network has memorized labels if its odds (right to wrong) on training labels are this many times
# those on held-out ones.
_MEMORIZES_FROM = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochResults:
    """Accuracy of the network at the end of an epoch."""

    epoch: int
    test_accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenEpoch:
    """The epoch with the best validation accuracy, the first one of a tie.

    Attributes:
        epoch: The epoch, counted from 1.
        validation_accuracy: Accuracy on the validation labels at its end.
        test_accuracy: Test accuracy at its end.
        validation_labels: Which labels chose the epoch: held-out labels, "corrupted" like the
            training labels or "as given"; or those of the "clean" examples.
        trusted_accuracy: Accuracy on held-out trusted examples at its end; None if there are none.
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
        dataset: The data set that was used.
        requested_dataset: The value of --dataset.
        method, seed, network, noise_type, noise_ratio, imbalance_type, imbalance_ratio: The flags.
        test_accuracy, test_loss: Accuracy and cross-entropy of the saved network on the test data.
        test_labels: "true"; "trusted" if the test data are the held-out trusted examples; "as
            given" if test labels may be wrong: `test_accuracy` is then only agreement with them.
        trusted_accuracy, trusted_accuracy_error: Accuracy of the saved network on held-out trusted
            examples and its standard error; None if there are none.
        suspected_labels: Number of training labels suspected by label quality; only for the run's
            own method.
        validation_accuracy: Accuracy of the saved network on the held-out labels; None if there are
            none.
        training_accuracy: Accuracy of the saved network on the given training labels; None in
            results of earlier versions.
        last_epoch: Results at the end of the last epoch.
        chosen_by_validation: The best epoch by held-out labels; None if there are none.
        chosen_by_clean: The best epoch by the clean examples; None if there are none or the method
            trains on them.
        train_seconds: Time spent on training steps.
        step_seconds: Median time per step.
        epochs, steps: Totals over all phases.
        skipped_steps: Number of steps undone because of NaN or infinity.
        parameters: Number of the network's parameters.
        wrong_label_share: The fraction of training labels that are wrong; None if unknown.
        class_names: Names of the classes, indexed by label.
        feature_names: Columns of a table, in the order of the network's inputs; empty for images.
        training_class_counts: Number of training examples of each given label.
        examples: Number of examples of each part of the data (training, clean, validation, test).
        device, versions: Hardware and library versions.
        new_learning_rates: Uses of --resume_learning_rate: method, step and new rate of each.
        heading: One line with data, noise and seed.
        test_confusion: Number of test examples by true class (rows) and predicted class (columns).
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
    # Results of earlier versions lack the following fields.
    new_learning_rates: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    heading: str = ""
    test_confusion: list[list[int]] = dataclasses.field(default_factory=list)
    feature_names: list[str] = dataclasses.field(default_factory=list)
    test_labels: str = TRUE
    trusted_accuracy: float | None = None
    trusted_accuracy_error: float | None = None
    suspected_labels: int | None = None
    chosen_by_clean: ChosenEpoch | None = None
    training_accuracy: float | None = None

    @property
    def accuracy(self) -> float | None:
        """Accuracy on labels known to be right; None if no such labels were held out."""
        return self.accuracy_at(self)

    @property
    def has_memorized(self) -> bool | None:
        """Whether the saved network has memorized training labels; None if that is unknown.

        It is known if labels were held out, which are as noisy as the training labels (after
        corrections, noisier).
        """
        if self.training_accuracy is None or self.validation_accuracy is None:
            return None
        training, held_out = self.training_accuracy, self.validation_accuracy
        return training * (1 - held_out) >= _MEMORIZES_FROM * (1 - training) * held_out

    def accuracy_at(self, epoch: ChosenEpoch | TrainingResults) -> float | None:
        """Returns what `accuracy` is at the end of one of this training's epochs."""
        return epoch.trusted_accuracy if self.test_labels == AS_GIVEN else epoch.test_accuracy


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResults(TrainingResults):
    """Results of a run: those of its method and, with --with_plain, of plain training.

    Attributes:
        plain: Results of plain training, or None.
        against_plain: Difference in accuracy between the run's method and plain training; None
            without plain training or without labels known to be right.
        ranked_by: The method whose network ranks the labels, and whose predictions are in
            examples.csv and clean_examples.csv: "plain" if plain training is significantly better
            and has not memorized labels, otherwise the run's own. None in results of earlier
            versions: the run's own.
    """

    plain: TrainingResults | None = None
    against_plain: Difference | None = None
    ranked_by: str | None = None

    @property
    def is_ranked_by_plain(self) -> bool:
        """Whether the network of plain training ranks the labels, not that of the run's method."""
        return self.ranked_by == "plain" != self.method

    @property
    def trainings(self) -> dict[str, TrainingResults]:
        """The results by method; the run's own method comes last."""
        return {one.method: one for one in (self.plain, self) if one is not None}


# The fields that are JSON objects, with their classes.
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
        name: Name of the file; `REVIEWED` for the copy of another run's results.

    Raises:
        UsageError: If the directory holds no finished run, or the file is damaged or from another
            version.
    """
    path = Path(directory) / name
    try:
        return _parsed(RunResults, json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.parent.is_dir():
            reason = "holds no finished run: it has no results.json."
            if RunDirectory(directory).is_begun:
                reason = (
                    "holds an unfinished run; if it was interrupted, resume it: "
                    f"python -m l2rw_tf.main --resume --run_dir={directory}"
                )
        else:
            reason = "is not a directory: name the directory of a run."
        raise UsageError(f"run_dir={directory} {reason}") from error
    except (OSError, ValueError, TypeError) as error:
        raise damaged(path, "it was not written by this version of l2rw_tf") from error


def _parsed(kind: type, content: Mapping[str, Any]) -> Any:
    """Makes a dataclass from a JSON object; unknown keys are ignored."""
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
    """Returns the standard error of an accuracy measured on `number` examples.

    This is the binomial standard error with one more right and one more wrong example (Laplace's
    estimate), so that it is not 0 if all examples are right.
    """
    estimate = (accuracy * number + 1) / (number + 2)
    return math.sqrt(estimate * (1 - estimate) / number)


def percent(fraction: float) -> str:
    """Returns a fraction formatted as percent, such as 98.1%."""
    return f"{fraction:.1%}"
