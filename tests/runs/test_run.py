from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_file_loader

from l2rw_tf.command_line import program
from l2rw_tf.command_line import settings as settings_module
from l2rw_tf.data import prepared_data
from l2rw_tf.data.predictions import class_probabilities
from l2rw_tf.errors import DataUnavailable, TrainingDiverged, UsageError
from l2rw_tf.report import page, run_report
from l2rw_tf.runs import config, outcome, paired, run, tables
from l2rw_tf.runs import results as run_results
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.results import TrainingResults

# Deterministic operations are switched on for the whole process; the program's tests have them.
SETTINGS = RunConfig(
    noise_type="uniform",
    noise_ratio=0.4,
    clean_per_class=2,
    epochs=2,
    batch_size=30,
    learning_rate=0.02,
    with_plain=True,
    deterministic="false",
    seed=5,
)


def _files(directory):
    """Names of the files, checkpoints and lock aside."""
    files = [str(path.relative_to(directory)) for path in directory.rglob("*.*")]
    return sorted(name for name in files if not name.startswith(("checkpoints", ".lock")))


@pytest.fixture
def finished(blobs, tmp_path, monkeypatch, capsys):
    """A run directory, what the run returned, and what it printed."""
    monkeypatch.chdir(tmp_path)
    results = run.run(SETTINGS, run_report.write)
    return tmp_path / "runs" / "blobs-uniform-l2rw-seed5", results, capsys.readouterr().out


def test_a_run_fills_its_directory(finished, blobs):
    directory, results, printed = finished
    files = _files(directory)
    assert [name for name in files if "tfevents" not in name] == [
        "classes.json",
        "clean_examples.csv",
        "config.cfg",
        "examples.csv",
        "figures/accuracy.png",
        "metrics.csv",
        "model.keras",
        "plain.keras",
        "report.html",
        "results.json",
    ]
    _check_results(directory, results, blobs)
    _check_metrics(directory, results)
    _check_difference(directory, results)
    _check_network(directory, results)
    _check_events(directory)
    _check_report(directory, results)
    _check_printed(printed, results)
    repeated = config.from_arguments([f"--flagfile={directory / 'config.cfg'}"])
    assert repeated == SETTINGS


def _check_results(directory, results, blobs):
    assert run_results.read(directory) == results
    # The file has the plain training under a key, with the same keys as the run's own.
    written = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    assert written["test_accuracy"] == results.test_accuracy
    assert set(written["plain"]) == set(written) - {"plain", "against_plain", "ranked_by"}
    assert (results.method, results.plain.method) == ("l2rw", "plain")
    train = prepared_data.prepare(SETTINGS, SETTINGS.seed).splits.train
    metrics = tables.read_metrics(directory)
    for result in (results, results.plain):
        assert result.dataset == "blobs" and result.seed == 5
        assert result.wrong_label_share == np.mean(train.y != blobs.train.y[train.ids])
        assert result.examples == {"training": 111, "clean": 6, "validation": 13, "test": 60}
        assert result.versions["keras"] == keras.__version__
        seconds = [row["seconds"] for row in metrics if row["method"] == result.method]
        assert result.train_seconds == pytest.approx(sum(seconds))
        # The median of the 8 steps but for the first, which compiles.
        assert 0 < result.step_seconds < min(sum(seconds) / 4, seconds[1])
        assert result.steps == 2 * 4
        assert np.trace(result.test_confusion) == pytest.approx(60 * result.test_accuracy)
        assert np.sum(result.test_confusion, axis=1).tolist() == [20, 20, 20]


def _check_metrics(directory, results):
    rows = tables.read_metrics(directory)
    assert [(row["method"], row["epoch"]) for row in rows] == [
        ("plain", 1),
        ("plain", 2),
        ("l2rw", 1),
        ("l2rw", 2),
    ]
    assert rows[1]["test_accuracy"] == results.plain.test_accuracy
    assert rows[3]["test_loss"] == results.test_loss
    assert "clean_loss" not in rows[0] and 1 <= rows[2]["effective_batch_size"] <= 30
    chosen = results.chosen_by_validation
    best = max(rows[2:], key=lambda row: row["val_accuracy"])
    assert (chosen.epoch, chosen.test_accuracy) == (best["epoch"], best["test_accuracy"])
    assert chosen.validation_labels == "corrupted"
    chosen = results.chosen_by_clean
    best = max(rows[2:], key=lambda row: row["clean_accuracy"])
    assert (chosen.epoch, chosen.test_accuracy) == (best["epoch"], best["test_accuracy"])
    assert (chosen.validation_accuracy, chosen.validation_labels) == (
        best["clean_accuracy"],
        "clean",
    )


def _check_difference(directory, results):
    """Against the accuracies of both, and the sentence in the report."""
    found = results.against_plain
    gap = results.test_accuracy - results.plain.test_accuracy
    assert found.accuracy == pytest.approx(gap) and found.standard_error > 0
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    assert found.examples == len(data.splits.test)
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert ("Better on" in page) is found.is_difference(gap)


@pytest.mark.parametrize("found", [None, (0.2, 0.05), (-0.05, 0.05)])
def test_a_plain_network_that_is_not_better_does_not_rank(found, blobs, tmp_path, monkeypatch):
    against = found and paired.Difference(accuracy=found[0], standard_error=found[1], examples=60)
    monkeypatch.setattr(outcome, "difference", lambda *right: against)
    monkeypatch.setattr(TrainingResults, "has_memorized", False)
    settings = dataclasses.replace(SETTINGS, run_dir=str(tmp_path), tensorboard=False)
    assert run.run(settings).ranked_by == "l2rw"


@pytest.mark.parametrize("has_memorized", [False, True, None])
def test_the_better_network_ranks_the_labels(has_memorized, blobs, tmp_path, monkeypatch, capsys):
    """Unless it has memorized them, or that is unknown."""
    written, write = {}, outcome.write

    def kept(journal, data, directory, trainings, *arguments):
        written.update(trainings)
        return write(journal, data, directory, trainings, *arguments)

    worse = paired.Difference(accuracy=-0.2, standard_error=0.05, examples=60)
    monkeypatch.setattr(outcome, "write", kept)
    monkeypatch.setattr(outcome, "difference", lambda *right: worse)
    monkeypatch.setattr(TrainingResults, "has_memorized", has_memorized)
    results = run.run(
        dataclasses.replace(SETTINGS, run_dir=str(tmp_path), tensorboard=False), run_report.write
    )
    ranked_by = "plain" if has_memorized is False else "l2rw"
    assert results.ranked_by == ranked_by
    assert run_results.read(tmp_path).is_ranked_by_plain is (ranked_by == "plain")
    examples = tables.read_examples(tmp_path, 3)
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    for part, rows in (
        (data.splits.train, examples),
        (data.splits.clean, tables.read_clean_examples(tmp_path, 3)),
    ):
        by_network = class_probabilities(written[ranked_by].network, part, data.preprocessing)
        by_id = dict(zip(part.ids, by_network, strict=True))
        found = zip(rows["id"], rows["given_label"], rows["given_probability"], strict=True)
        assert all(abs(by_id[one][label] - probability) < 1e-5 for one, label, probability in found)
    # The record stays that of the weights.
    assert np.isfinite(examples["mean_weight"]).all()
    printed = capsys.readouterr().out
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    by_plain = ranked_by == "plain"
    assert ("Its network ranks the labels; l2rw predict --plain_network" in printed) is by_plain
    assert ("the plainly trained network (plain.keras)" in report) is by_plain
    assert ("may have memorized them" in printed) is (has_memorized is True)
    assert ("--validation_fraction" in printed) is (has_memorized is None)
    suspected = (examples["label_quality"] < 0.2) & (
        examples["suggested_label"] != examples["given_label"]
    )
    assert results.suspected_labels == suspected.sum()
    is_sorted = np.all(np.diff(examples["given_probability"]) >= 0)
    assert is_sorted == by_plain


def _check_network(directory, results):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    for name, found in (("model.keras", results), ("plain.keras", results.plain)):
        network = keras.saving.load_model(directory / name)
        assert type(network).__module__.startswith("keras.")
        assert network.count_params() == found.parameters
        for part, expected in (
            (data.splits.test, found.test_accuracy),
            (data.splits.train, found.training_accuracy),
            (data.splits.validation, found.validation_accuracy),
        ):
            predicted = network.predict(part.x, verbose=0).argmax(axis=1)
            assert expected == pytest.approx(np.mean(predicted == part.y))


def _check_events(directory):
    for method in ("plain", "l2rw"):
        (file,) = (directory / "tensorboard" / method).iterdir()
        events = list(event_file_loader.EventFileLoader(str(file)).Load())
        tags = {value.tag for event in events for value in event.summary.value}
        assert {"loss", "val_accuracy", "test_accuracy"} <= tags
        assert {event.step for event in events if event.summary.value} == {1, 2}


def _check_report(directory, results):
    page = (directory / "report.html").read_text(encoding="utf-8")
    for accuracy in (results.test_accuracy, results.plain.test_accuracy):
        assert f"{accuracy:.1%}" in page
    for title, result in (("reweighted", results), ("plain", results.plain)):
        right = round(60 * result.test_accuracy)
        assert f"Confusion matrix, {title}: {right} of 60 test examples right" in page
    assert "Effective batch size over the epochs, for batches of 30" in page


def _check_printed(printed, results):
    assert "blobs, uniform flip of 0.4 of the labels" in printed
    *_, head, plain, reweighted, _, where, better = printed.splitlines()
    assert " on 60 test examples" in better
    assert head.split("  ")[0] == "" and "test accuracy" in head
    assert plain.startswith("plain") and f"{results.plain.test_accuracy:.1%}" in plain
    assert reweighted.startswith("reweighted") and f"{results.test_loss:.4f}" in reweighted
    assert where.startswith("results: runs/blobs-uniform-l2rw-seed5; ")


@pytest.mark.slow
def test_a_second_run_gets_a_directory_of_its_own(blobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(
        SETTINGS, name="twice", method="plain", max_steps=1, tensorboard=False, progress="none"
    )
    first, second = run.run(settings), run.run(settings)
    assert first.method == first.plain.method == "plain"
    assert first.test_loss == second.test_loss
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "twice-seed5",
        "twice-seed5-2",
    ]
    assert not (tmp_path / "runs" / "twice-seed5" / "tensorboard").exists()


def test_a_report_that_cannot_be_drawn_does_not_cost_the_run(blobs, tmp_path, monkeypatch, capsys):
    def fail(report):
        raise ValueError("no such\nletter")

    monkeypatch.setattr(page, "page", fail)
    settings = dataclasses.replace(
        SETTINGS, run_dir=str(tmp_path), max_steps=1, with_plain=False, tensorboard=False
    )
    run.run(settings, run_report.write)
    files = _files(tmp_path)
    assert "results.json" in files and "report.html" not in files
    said = capsys.readouterr().err.splitlines()
    assert any("report.html" in line and "no such letter" in line for line in said)


def test_a_directory_that_holds_a_run_is_refused(blobs, tmp_path):
    (tmp_path / "config.cfg").touch()
    with pytest.raises(UsageError, match="holds a run already"):
        run.run(dataclasses.replace(SETTINGS, run_dir=str(tmp_path)))
    assert _files(tmp_path) == ["config.cfg"]


STOP_ON_CLEAN = {"early_stopping": True, "early_stopping_on": "clean"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "resnet33"}, "network 'resnet33'"),
        ({"network": "lenet"}, "network 'lenet' takes images"),
        ({"clean_per_class": 1000}, "clean_per_class"),
        ({"noise_type": "background", "background_class": 3}, "background_class .* got 3"),
        ({"augment": "crop"}, "augment=crop is for images"),
        # Of 130 examples.
        ({"early_stopping": True, "validation_fraction": 0.003}, "early_stopping needs held-out"),
        ({**STOP_ON_CLEAN, "method": "glc"}, "early_stopping_on=clean .* method=glc"),
        ({**STOP_ON_CLEAN, "clean_in_train": True}, "early_stopping_on=clean .* not trained on"),
    ],
    ids=str,
)
def test_what_does_not_fit_leaves_no_finished_run(blobs, tmp_path, settings, message):
    directory = tmp_path / "run"
    with pytest.raises(UsageError, match=message):
        run.run(dataclasses.replace(SETTINGS, run_dir=str(directory), **settings))
    assert not directory.exists()


def test_a_diverged_run_has_no_results(blobs, tmp_path):
    settings = dataclasses.replace(
        SETTINGS, run_dir=str(tmp_path), learning_rate=1e25, epochs=20, with_plain=False
    )
    with pytest.raises(TrainingDiverged):
        run.run(settings)
    assert "config.cfg" in _files(tmp_path) and "results.json" not in _files(tmp_path)


@pytest.mark.slow
def test_the_fallback_is_named_everywhere(blobs, tmp_path, monkeypatch, capsys):
    def load(dataset, **where):
        if dataset == "cifar10":
            raise DataUnavailable("cifar10 is not here; fetch it.")
        return blobs

    monkeypatch.setattr(prepared_data.sources, "load", load)
    settings = dataclasses.replace(
        SETTINGS,
        dataset="cifar10",
        fallback_dataset="blobs",
        run_dir=str(tmp_path),
        max_steps=1,
        with_plain=False,
    )
    results = run.run(settings)
    printed = capsys.readouterr().out
    assert "#   cifar10 IS NOT AVAILABLE: THIS RUN USES blobs INSTEAD" in printed
    assert "fetch it" in printed.split("seed 5")[0]
    assert printed.split("INSTEAD")[1].count("blobs, uniform flip") == 2
    assert (results.dataset, results.requested_dataset) == ("blobs", "cifar10")
    repeated = config.from_arguments([f"--flagfile={tmp_path / 'config.cfg'}"])
    assert (repeated.dataset, repeated.fallback_dataset) == ("blobs", "")


@pytest.mark.slow
def test_precision_is_set_for_the_run_alone(blobs, tmp_path):
    settings = dataclasses.replace(
        SETTINGS, dtype_policy="mixed_bfloat16", run_dir=str(tmp_path), max_steps=1
    )
    run.run(settings)
    assert keras.config.dtype_policy().name == "float32"
    network = keras.saving.load_model(tmp_path / "model.keras")
    *before, bare_network, probabilities = network.layers
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in bare_network.layers}
    assert {layer.dtype_policy.name for layer in (*before, probabilities)} == {"float32"}


@pytest.mark.slow
def test_a_run_that_was_resumed_at_another_rate_says_so(blobs, tmp_path, monkeypatch):
    settings = dataclasses.replace(SETTINGS, run_dir=str(tmp_path), with_plain=False)

    def stop(self, row):
        if row["epoch"] == 2:
            raise program.Stopped("SIGTERM")

    with monkeypatch.context() as patched, pytest.raises(program.Stopped):
        patched.setattr(run.Progress, "show", stop)
        run.run(settings)
    resumed = dataclasses.replace(settings, resume=True, resume_learning_rate=0.005)
    results = run.run(resumed, run_report.write)
    new_rate = {"method": "l2rw", "after_step": 4, "learning_rate": 0.005}
    assert results.new_learning_rates == [new_rate]
    repeated = config.from_arguments([f"--flagfile={tmp_path / 'config.cfg'}"])
    assert settings_module.differences(repeated, settings) == [
        "learning_rate (0.005 there, 0.02 here)"
    ]
    assert "after step 4" in (tmp_path / "config.cfg").read_text(encoding="utf-8")
    assert "--learning_rate=0.005" in (tmp_path / "report.html").read_text(encoding="utf-8")
