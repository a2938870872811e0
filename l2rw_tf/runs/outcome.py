"""Writes the results of a run's finished trainings into its directory."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from sklearn.metrics import confusion_matrix

from l2rw_tf import __version__, quality
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.predictions import class_logits, class_probabilities
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.settings import AS_GIVEN, TRUSTED
from l2rw_tf.runs import results, saved_network, tables
from l2rw_tf.runs.epoch_record import Row
from l2rw_tf.runs.example_table import clean_example_table, example_table
from l2rw_tf.runs.paired import Difference, difference
from l2rw_tf.runs.results import (
    HELD_OUT_TRUSTED,
    ChosenEpoch,
    EpochResults,
    RunResults,
    TrainingResults,
)
from l2rw_tf.runs.resume.journal import Journal
from l2rw_tf.runs.run_directory import RunDirectory
from l2rw_tf.runs.training import Training

_VERSIONED = ("tensorflow", "keras", "tensorflow-datasets", "numpy")

# Writes figures and the report. Arguments: the run's directory, its results (results.json is not
# written yet), the training examples in order, and the names of their features.
Report = Callable[[RunDirectory, RunResults, Examples, Sequence[str]], None]


def write(
    journal: Journal,
    data: PreparedData,
    directory: RunDirectory,
    trainings: Mapping[str, Training],
    heading: str,
    report: Report | None,
) -> RunResults:
    """Writes the saved network, the example tables, the report and results.json.

    Args:
        journal: The run's settings, and how it was resumed.
        data: The data of the run.
        directory: The run's directory, which has metrics.csv already.
        trainings: The finished trainings by method.
        heading: One line with data, noise and seed.
        report: Writes the report; None for no report.

    Returns:
        The content of results.json.

    Raises:
        OSError: If a file cannot be written.
    """
    config = journal.config
    own = trainings[config.method]
    trained_networks = {
        saved_network.MODEL if trained is own else saved_network.PLAIN: trained.network
        for trained in trainings.values()
    }
    saved_network.save(directory, trained_networks, data.preprocessing, data.source)
    predicted = {
        method: _predicted(trained, data.splits.test, data) for method, trained in trainings.items()
    }
    probabilities = {
        method: class_probabilities(trained.network, data.splits.train, data.preprocessing)
        for method, trained in trainings.items()
    }
    found = {
        method: _results(journal, data, trained, predicted[method], probabilities[method], heading)
        for method, trained in trainings.items()
    }
    against_plain = None
    if config.with_plain and own.method != "plain":
        pair = {method: trainings[method] for method in (own.method, "plain")}
        against_plain = _difference(pair, predicted, data)
    # The better classifier ranks better, unless it has memorized the labels (label_errors.md).
    plain_ranks = (
        against_plain is not None
        and against_plain.is_worse
        and found["plain"].has_memorized is False
    )
    ranking = trainings["plain"] if plain_ranks else own
    table = example_table(data, own, probabilities[ranking.method])
    table = quality.with_quality(table, of_plain_network=ranking is not own)
    tables.write_examples(directory, quality.ranked(table))
    tables.write_clean_examples(directory, clean_example_table(data, ranking))
    suspected = int(quality.suspects(table).sum())
    run_results = RunResults(
        **vars(dataclasses.replace(found[config.method], suspected_labels=suspected)),
        plain=found["plain"] if config.with_plain else None,
        against_plain=against_plain,
        ranked_by=ranking.method,
    )
    if report is not None:
        report(directory, run_results, data.splits.train, data.source.feature_names)
    # Last: a directory with results.json holds a finished run.
    results.write(directory, run_results)
    return run_results


def _results(
    journal: Journal,
    data: PreparedData,
    trained: Training,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    heading: str,
) -> TrainingResults:
    config = journal.config
    final, last = trained.final, trained.epochs[-1]
    trusted, held_out = final.get("trusted_accuracy"), data.splits.trusted_test
    return TrainingResults(
        heading=heading,
        dataset=data.source.name,
        requested_dataset=config.dataset,
        method=trained.method,
        seed=config.seed,
        test_accuracy=final["test_accuracy"],
        test_loss=final["test_loss"],
        test_labels=data.test_labels,
        trusted_accuracy=trusted,
        trusted_accuracy_error=None
        if trusted is None
        else results.standard_error(trusted, len(held_out)),
        validation_accuracy=final.get("val_accuracy"),
        last_epoch=EpochResults(epoch=last["epoch"], test_accuracy=last["test_accuracy"]),
        chosen_by_validation=_chosen(
            trained.epochs,
            "val_accuracy",
            "corrupted" if config.noise_type != "none" else "as given",
        ),
        chosen_by_clean=_chosen(trained.epochs, "clean_accuracy", "clean"),
        training_accuracy=float(np.mean(probabilities.argmax(axis=1) == data.splits.train.y)),
        train_seconds=trained.train_seconds,
        step_seconds=trained.step_seconds,
        epochs=len(trained.epochs),
        steps=trained.steps,
        new_learning_rates=[dataclasses.asdict(one) for one in journal.new_rates],
        skipped_steps=trained.skipped_steps,
        network=config.network,
        parameters=trained.network.count_params(),
        noise_type=config.noise_type,
        noise_ratio=config.noise_ratio or 0.0,
        wrong_label_share=data.wrong_label_share,
        imbalance_type=config.imbalance_type,
        imbalance_ratio=config.imbalance_ratio,
        class_names=list(data.source.class_names),
        feature_names=list(data.source.feature_names),
        training_class_counts=data.training_class_counts,
        examples=sizes(data),
        test_confusion=confusion_matrix(
            data.splits.test.y, predicted, labels=range(data.source.num_classes)
        ).tolist(),
        device=device(),
        versions={
            "l2rw_tf": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    )


def _chosen(epochs: Sequence[Row], column: str, labels: str) -> ChosenEpoch | None:
    rows = [row for row in epochs if column in row]
    if not rows:
        return None
    best = max(rows, key=lambda row: row[column])
    return ChosenEpoch(
        epoch=best["epoch"],
        validation_accuracy=best[column],
        test_accuracy=best["test_accuracy"],
        validation_labels=labels,
        trusted_accuracy=best.get("trusted_accuracy"),
    )


def _predicted(trained: Training, examples: Examples, data: PreparedData) -> np.ndarray:
    return class_logits(trained.network, examples, data.preprocessing).argmax(axis=1)


def _difference(
    pair: Mapping[str, Training], on_test: Mapping[str, np.ndarray], data: PreparedData
) -> Difference | None:
    """Compares two trainings on the examples that `accuracy` is measured on, if there are any."""
    measured = data.splits.test
    predicted = [on_test[method] for method in pair]
    if data.test_labels == AS_GIVEN:
        measured = data.splits.trusted_test
        if measured is None:
            return None
        predicted = [_predicted(trained, measured, data) for trained in pair.values()]
    return difference(*(one == measured.y for one in predicted))


def sizes(data: PreparedData) -> dict[str, int]:
    """Returns the number of examples of each part of the data."""
    parts = {
        "training": data.splits.train,
        "clean": data.splits.clean,
        "validation": data.splits.validation,
        "test": data.splits.test,
        HELD_OUT_TRUSTED: None if data.test_labels == TRUSTED else data.splits.trusted_test,
    }
    return {name: len(part) for name, part in parts.items() if part is not None}


def device() -> str:
    """Returns a description of the device that the run computes on."""
    number = tf.distribute.get_strategy().num_replicas_in_sync
    replicas = f"{number} replicas, " if number > 1 else ""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"{replicas}GPU: {details.get('device_name', gpus[0].name)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{replicas}CPU: {cores} cores"
