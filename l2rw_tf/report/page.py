"""Renders the report of a run as one self-contained HTML page."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from l2rw_tf import quality
from l2rw_tf.data import corrections
from l2rw_tf.data.corrections import Correction
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.settings import AS_GIVEN, TRUE, TRUSTED
from l2rw_tf.methods import METHODS
from l2rw_tf.report import pictures, review, weight_pictures
from l2rw_tf.runs import words
from l2rw_tf.runs.results import RunResults, percent

# Name of the examples on the diagonal of a confusion matrix, by `TrainingResults.test_labels`.
# Clean examples that the page lists; clean_examples.csv has all.
_MOST_DOUBTFUL = 30

_OUTCOMES = {
    TRUE: "test examples right",
    TRUSTED: "held-out trusted examples right",
    AS_GIVEN: "test examples predicted as labelled",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """The content of a report.

    Attributes:
        results: The content of results.json.
        metrics: The rows of metrics.csv.
        settings: The flags of config.cfg, by name.
        examples: The columns of examples.csv, each (n,), the most suspicious label first.
        training: The training examples, in any order.
        feature_names: A name for each feature; empty for images.
        name: The name of the run.
        corrections: The corrections that the run was trained with.
        reviewed: The results of the run that was reviewed for these corrections, if known.
        clean_examples: The columns of clean_examples.csv, each (n,), doubtful labels first.
    """

    results: RunResults
    metrics: Sequence[Mapping[str, Any]]
    settings: Mapping[str, str]
    examples: quality.Table
    training: Examples
    feature_names: Sequence[str]
    name: str = ""
    corrections: Sequence[Correction] = ()
    reviewed: RunResults | None = None
    clean_examples: quality.Table = dataclasses.field(default_factory=dict)

    @property
    def titles(self) -> dict[str, str]:
        """The titles of the trainings, by method."""
        return {method: METHODS[method].title for method in self.results.trainings}

    @property
    def curves(self) -> dict[str, list[Mapping[str, Any]]]:
        """The rows of metrics.csv by method."""
        return {
            method: [row for row in self.metrics if row["method"] == method]
            for method in self.results.trainings
        }

    @property
    def batch_size(self) -> int:
        """The number of training examples per batch."""
        return int(self.settings["batch_size"])

    @property
    def review_examples(self) -> int:
        """The largest number of examples to review in the page."""
        return int(self.settings["review_examples"])

    @functools.cached_property
    def suspected(self) -> np.ndarray:
        """Whether each label is suspected, bool (n,)."""
        return quality.suspects(self.examples)

    @functools.cached_property
    def wrong(self) -> np.ndarray | None:
        """Whether each label is wrong, bool (n,); None if unknown."""
        return quality.wrong_labels(self.examples)

    def inputs(self, ids: np.ndarray) -> np.ndarray:
        """Returns the inputs of the training examples with the given ids."""
        order = np.argsort(self.training.ids)
        return self.training.x[order[np.searchsorted(self.training.ids, ids, sorter=order)]]


def page(report: Report) -> str:
    """Renders the page.

    Args:
        report: The content.

    Returns:
        HTML, in which all text from the data is escaped.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": "{:,}".format}
    template, script = _file("report.html.j2"), _file("review.js")
    results, wrong = report.results, report.wrong
    return environment.from_string(template).render(
        report=report,
        results=results,
        dataset=Path(results.dataset).name,
        method=METHODS[results.method],
        plain=results.plain if results.method != "plain" else None,
        noise=words.noise_in_words(results, None),
        pictures=_pictures(report),
        measurements=_measurements(report),
        accuracy=words.accuracy,
        better=words.against_plain(results, report.titles),
        measured_on=words.measured_on(results, "rows" if report.feature_names else "images"),
        measured="test" if results.test_labels == TRUE else "held-out trusted",
        as_given=results.test_labels == AS_GIVEN,
        classes=_classes(report),
        review=_review(report),
        doubtful=_doubtful(report),
        most_doubtful=_MOST_DOUBTFUL,
        corrected=corrections.in_words(corrections.counts(report.corrections))
        if report.corrections
        else None,
        changes=_changes(report) if report.reviewed else [],
        # The page's content security policy allows only this script, by its hash.
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        score=quality.basis_of_score(report.examples, results.is_ranked_by_plain),
        suspect_below=quality.SUSPECT_BELOW,
        num_suspected=int(report.suspected.sum()),
        num_wrong=None if wrong is None else int(wrong.sum()),
        num_found=None if wrong is None else int((wrong & report.suspected).sum()),
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _review(report: Report) -> dict[str, Any]:
    """Returns the data of the review, as `review.content` has it."""
    rows = review.order(report.examples, report.suspected, report.review_examples)
    return review.content(
        report.examples,
        rows,
        report.inputs(report.examples["id"][rows]),
        suspected=report.suspected,
        class_names=report.results.class_names,
        feature_names=report.feature_names,
        run=report.name,
        earlier=report.corrections,
    )


def accuracy_curves(report: Report, heading: str = "") -> pictures.Chart:
    """Draws the accuracy of the run's trainings over the epochs, below an optional heading."""
    results = report.results
    held_out = "test" if results.test_labels == TRUE else "given test labels"
    if results.trusted_accuracy is not None:
        held_out = "trusted"
    return pictures.accuracy_curves(
        report.curves, report.titles, results.wrong_label_share, heading, held_out
    )


def _pictures(report: Report) -> dict[str, Any]:
    """Returns the charts by name; None for a chart that this run has no data for."""
    examples, wrong, names = report.examples, report.wrong, report.results.class_names
    outcome = _OUTCOMES[report.results.test_labels]
    found: dict[str, Any] = dict.fromkeys(("weights", "losses", "batch", "ranking"))
    found |= {
        "accuracy": accuracy_curves(report),
        "suspects": pictures.suspects_by_class(
            names,
            *(_count(report, chosen) for chosen in (None, report.suspected)),
            None if wrong is None else _count(report, wrong),
        ),
        "confusion": {
            title: pictures.confusion_matrix(
                np.array(report.results.trainings[method].test_confusion), title, names, outcome
            )
            for method, title in report.titles.items()
        },
    }
    if "mean_weight" in examples:
        seen = np.isfinite(examples["mean_weight"])
        # The last batch of an epoch may be smaller: in plain training, the mean weight over all
        # visits is one over the mean batch size.
        mean_batch = len(seen) / math.ceil(len(seen) / report.batch_size)
        weights = examples["mean_weight"][seen] * mean_batch
        wrong_seen = None if wrong is None else wrong[seen]
        found["weights"] = weight_pictures.weight_distribution(weights, wrong_seen)
        if len(weights):
            found["losses"] = weight_pictures.weight_against_loss(
                weights, examples["mean_loss"][seen], wrong_seen
            )
    own = report.curves[report.results.method]
    rows = [row for row in own if "effective_batch_size" in row]
    if rows:
        found["batch"] = weight_pictures.effective_batch_size(rows, report.batch_size)
    if detection := quality.detection(examples):
        found["ranking"] = pictures.precision_recall(
            examples["label_quality"], wrong, report.suspected, detection
        )
    return found


def _count(report: Report, chosen: np.ndarray | None) -> np.ndarray:
    """Returns the number of chosen examples (None: of all) per given label, (classes,)."""
    labels = report.examples["given_label"]
    labels = labels if chosen is None else labels[chosen]
    return np.bincount(labels, minlength=len(report.results.class_names))


def _measurements(report: Report) -> list[tuple[str, list[str]]]:
    """Returns the rows of the table of trainings: a name, and a value for each training."""
    trainings = report.results.trainings.values()
    test = "Test accuracy"
    rows = []
    if report.results.test_labels != TRUE:
        test = "Agreement with given test labels"
        rows.append(("Accuracy", [words.accuracy(training) for training in trainings]))
    if report.results.test_labels != TRUSTED:
        rows.append((test, [percent(training.test_accuracy) for training in trainings]))
    rows.append(("Test loss", [f"{training.test_loss:.4f}" for training in trainings]))
    for labels, field in (
        ("held-out labels", "chosen_by_validation"),
        ("the clean examples", "chosen_by_clean"),
    ):
        chosen = [getattr(training, field) for training in trainings]
        if not all(chosen):
            continue
        rows.append((f"Epoch chosen by {labels}", [str(choice.epoch) for choice in chosen]))
        if all(choice.trusted_accuracy is not None for choice in chosen):
            there = [percent(choice.trusted_accuracy) for choice in chosen]
            rows.append(("Accuracy there", there))
        if report.results.test_labels != TRUSTED:
            rows.append((f"{test} there", [percent(choice.test_accuracy) for choice in chosen]))
    return rows + [
        ("Training time", [f"{training.train_seconds:,.1f} s" for training in trainings]),
        ("One step", [f"{1000 * training.step_seconds:,.1f} ms" for training in trainings]),
    ]


def _changes(report: Report) -> list[tuple[str, str, str]]:
    """Returns rows (name, before, now) that compare the reviewed run with this one."""
    runs = report.reviewed, report.results
    kind = "rows" if report.feature_names else "images"
    suspected = [report.reviewed.suspected_labels, int(report.suspected.sum())]
    rows = [
        ("Accuracy", *map(words.accuracy, runs)),
        ("Change of accuracy", "", words.difference(*runs)),
        ("Training " + kind, *(f"{run.examples['training']:,}" for run in runs)),
        ("Clean " + kind, *(f"{run.examples['clean']:,}" for run in runs)),
        ("Suspected labels", *("–" if one is None else f"{one:,}" for one in suspected)),
    ]
    plain = [run.plain for run in runs]
    if report.results.method != "plain" and None not in plain:
        rows.insert(2, ("Accuracy of plain training", *map(words.accuracy, plain)))
    wrong = [run.wrong_label_share for run in runs]
    if None not in wrong:
        rows.append(("Wrong labels", *map(percent, wrong)))
    if runs[0].is_ranked_by_plain != runs[1].is_ranked_by_plain:
        ranked_by = ["plain" if run.is_ranked_by_plain else run.method for run in runs]
        rows.append(("Labels ranked by", *(METHODS[method].title for method in ranked_by)))
    if words.measured_on(runs[0]) != words.measured_on(runs[1]):
        rows.append(("Accuracy is", *(words.measured_on(run, kind) for run in runs)))
    return rows


def _classes(report: Report) -> list[dict[str, Any]]:
    """Returns a row per class: numbers of given, suspected and wrong labels; test accuracies."""
    given, suspected = _count(report, None), _count(report, report.suspected)
    wrong = None if report.wrong is None else _count(report, report.wrong)
    matrices = [training.test_confusion for training in report.results.trainings.values()]
    return [
        {
            "name": name,
            "given": int(given[label]),
            "suspected": int(suspected[label]),
            "wrong": None if wrong is None else int(wrong[label]),
            "accuracies": [
                percent(matrix[label][label] / sum(matrix[label])) if any(matrix[label]) else "–"
                for matrix in matrices
            ],
        }
        for label, name in enumerate(report.results.class_names)
    ]


def _doubtful(report: Report) -> list[dict[str, str]]:
    """Returns a row per clean example whose label is doubtful and not the network's suggestion."""
    clean, names = report.clean_examples, report.results.class_names
    if "doubtful" not in clean:
        return []
    shown = (clean["doubtful"] > 0) & (clean["suggested_label"] != clean["given_label"])
    return [
        {
            "origin": clean["origin"][row],
            "label": names[clean["given_label"][row]],
            "suggested": names[clean["suggested_label"][row]],
            "given_probability": percent(clean["given_probability"][row]),
            "suggested_probability": percent(clean["suggested_probability"][row]),
        }
        for row in np.flatnonzero(shown)
    ]
