"""The report of a run: one HTML page that needs nothing beside it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from l2rw_tf import quality as audit
from l2rw_tf.data.storage import StoredImages
from l2rw_tf.report import pictures as report_figures

# Of a class and in all: a page of more pictures is slow to open and nobody looks at them.
_FEWEST_EXAMPLES, _MOST_EXAMPLES, _MOST_EXAMPLES_IN_ALL = 3, 8, 120
_MOST_GALLERIES = 30
_MOST_FEATURES = 30


@dataclasses.dataclass(frozen=True)
class ReportedTraining:
    """One training of the run.

    Attributes:
        title: What it is called.
        epochs: Its rows of metrics.csv.
        results: What results.json holds of it.
        confusion: Test examples by true (rows) and predicted class, (classes, classes) int64.
    """

    title: str
    epochs: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    confusion: np.ndarray


@dataclasses.dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes:
        heading: Data, noise and seed in words.
        summary: What the method does, in words.
        noise: What was done to the labels, in words.
        trainings: By method, the run's own last.
        settings: The flags that repeat the run.
        batch_size: Examples in a batch.
        inputs: What was trained on: images (n, height, width, channels) uint8, or rows
            (n, features) float32.
        feature_names: A name for each feature; empty for images.
        examples: The table of the training examples by column, each (n,): `id`, `given_label`,
            `suggested_label`, `label_quality`; `true_label` and `mean_weight` where there are such.
    """

    heading: str
    summary: str
    noise: str
    trainings: Mapping[str, ReportedTraining]
    settings: Sequence[str]
    batch_size: int
    inputs: np.ndarray | StoredImages
    feature_names: Sequence[str]
    examples: Mapping[str, np.ndarray]

    @property
    def results(self) -> Mapping[str, Any]:
        """What results.json holds of the run's own method."""
        return list(self.trainings.values())[-1].results

    @property
    def class_names(self) -> Sequence[str]:
        """A name for each class."""
        return self.results["class_names"]

    @functools.cached_property
    def suspected(self) -> np.ndarray:
        """Which labels are suspected, bool (n,)."""
        return audit.suspects(self.examples)

    @functools.cached_property
    def wrong(self) -> np.ndarray | None:
        """Which labels are wrong, bool (n,), or None where nobody knows."""
        return audit.wrong_labels(self.examples)


def page(report: Report) -> str:
    """Makes the page.

    Args:
        report: What it is made of.

    Returns:
        HTML; whatever came from the data is escaped.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "number": "{:,}".format}
    template = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        report=report,
        results=report.results,
        dataset=Path(report.results["dataset"]).name,
        own=list(report.trainings.values())[-1],
        pictures=_pictures(report),
        measurements=_measurements(report),
        classes=_classes(report),
        galleries=_galleries(report),
        most_galleries=_MOST_GALLERIES,
        score=audit.basis_of_score(report.examples),
        suspect_below=audit.SUSPECT_BELOW,
        num_suspected=int(report.suspected.sum()),
        num_wrong=None if report.wrong is None else int(report.wrong.sum()),
        num_found=None if report.wrong is None else int((report.wrong & report.suspected).sum()),
    )


def _pictures(report: Report) -> dict[str, Any]:
    """The pictures by name; None stands for one that this run has nothing for."""
    examples, wrong, names = report.examples, report.wrong, report.class_names
    titles = {method: training.title for method, training in report.trainings.items()}
    curves = {method: training.epochs for method, training in report.trainings.items()}
    pictures: dict[str, Any] = dict.fromkeys(("weights", "batch", "ranking"))
    pictures |= {
        "accuracy": report_figures.accuracy_curves(
            curves, titles, report.results["wrong_label_share"]
        ),
        "suspects": report_figures.suspects_by_class(
            names,
            *(_count(report, chosen) for chosen in (None, report.suspected)),
            None if wrong is None else _count(report, wrong),
        ),
        "confusion": {
            training.title: report_figures.confusion_matrix(
                training.confusion, training.title, names
            )
            for training in report.trainings.values()
        },
    }
    if "mean_weight" in examples:
        seen = np.isfinite(examples["mean_weight"])
        # The last batch of an epoch may be smaller: in plain training the mean weight over all
        # visits is one over the mean size.
        mean_batch = len(seen) / math.ceil(len(seen) / report.batch_size)
        pictures["weights"] = report_figures.weight_distribution(
            examples["mean_weight"][seen] * mean_batch, None if wrong is None else wrong[seen]
        )
    rows = [row for row in list(curves.values())[-1] if "effective_batch_size" in row]
    if rows:
        pictures["batch"] = report_figures.effective_batch_size(rows, report.batch_size)
    if found := audit.detection(examples):
        pictures["ranking"] = report_figures.precision_recall(
            examples["label_quality"], wrong, report.suspected, found
        )
    return pictures


def _count(report: Report, chosen: np.ndarray | None) -> np.ndarray:
    """How many of the chosen examples have each label, (classes,)."""
    labels = report.examples["given_label"]
    labels = labels if chosen is None else labels[chosen]
    return np.bincount(labels, minlength=len(report.class_names))


def _measurements(report: Report) -> list[tuple[str, list[str]]]:
    """The table of the trainings: the name of a figure, and it for each of them."""
    all_results = [training.results for training in report.trainings.values()]
    chosen = [results["chosen_by_validation"] for results in all_results]
    rows = [
        ("Test accuracy", [_percent(results["test_accuracy"]) for results in all_results]),
        ("Test loss", [f"{results['test_loss']:.4f}" for results in all_results]),
    ]
    if all(chosen):
        rows += [
            ("Epoch chosen by held-out labels", [str(choice["epoch"]) for choice in chosen]),
            ("Test accuracy there", [_percent(choice["test_accuracy"]) for choice in chosen]),
        ]
    return rows + [
        ("Training time", [f"{results['train_seconds']:,.1f} s" for results in all_results]),
        ("One step", [f"{1000 * results['step_seconds']:,.1f} ms" for results in all_results]),
    ]


def _classes(report: Report) -> list[dict[str, Any]]:
    """A row a class: how many labels are given, suspected and wrong, and test accuracies."""
    given, suspected = _count(report, None), _count(report, report.suspected)
    wrong = None if report.wrong is None else _count(report, report.wrong)
    return [
        {
            "name": name,
            "given": int(given[label]),
            "suspected": int(suspected[label]),
            "wrong": None if wrong is None else int(wrong[label]),
            "accuracies": [
                _percent(row[label] / row.sum()) if row.any() else "–"
                for row in (training.confusion[label] for training in report.trainings.values())
            ],
        }
        for label, name in enumerate(report.class_names)
    ]


def _galleries(report: Report) -> list[dict[str, Any]]:
    """The most suspicious examples of each class; of the classes with most suspects, if many."""
    examples, suspected = report.examples, _count(report, report.suspected)
    shown = np.sort(np.argsort(-suspected, kind="stable")[:_MOST_GALLERIES])
    order = np.argsort(examples["label_quality"], kind="stable")
    limit = np.clip(_MOST_EXAMPLES_IN_ALL // len(shown), _FEWEST_EXAMPLES, _MOST_EXAMPLES)
    galleries = []
    for label in shown:
        of_class = order[examples["given_label"][order] == label]
        most = np.clip(suspected[label], _FEWEST_EXAMPLES, limit)
        galleries.append(
            {
                "name": report.class_names[label],
                "given": len(of_class),
                "suspected": int(suspected[label]),
                "examples": list(_suspicious(report, of_class[:most])),
            }
        )
    return galleries


def _suspicious(report: Report, places: np.ndarray) -> Iterator[dict[str, Any]]:
    """What the gallery shows of some examples, given by their places in the table."""
    columns, names = report.examples, report.class_names
    for place, value in zip(places, report.inputs[places], strict=True):
        example = {
            "id": int(columns["id"][place]),
            "given": names[columns["given_label"][place]],
            "suggested": names[columns["suggested_label"][place]],
            "quality": f"{columns['label_quality'][place]:.3f}",
            "suspected": bool(report.suspected[place]),
            "true": names[columns["true_label"][place]] if "true_label" in columns else None,
            "picture": None,
            "features": [],
            "more_features": max(0, len(report.feature_names) - _MOST_FEATURES),
        }
        if report.feature_names:
            cells = zip(report.feature_names, value.tolist(), strict=True)
            example["features"] = [(name, f"{cell:.6g}") for name, cell in cells][:_MOST_FEATURES]
        else:
            example["picture"] = report_figures.example_image(
                value,
                f"Training example {example['id']}: given label {example['given']}, suggested "
                f"label {example['suggested']}, label quality {example['quality']}",
            )
        yield example


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
