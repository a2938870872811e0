"""The comparison with cleanlab: what its networks are trained on, and the table."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from benchmarks import label_errors
from l2rw_tf.data import prepared_data
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.splits import Splits
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import outcome, paired
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.results import TrainingResults
from tests.methods.test_methods import SETTINGS


def examples(first, number):
    y = np.arange(number) % 3
    x = np.random.default_rng(first).normal(size=(number, 2)).astype(np.float32)
    return Examples(x=x, y=y, true_y=y, ids=np.arange(first, first + number))


def test_no_network_scores_what_it_was_trained_on(monkeypatch):
    """The networks stand for what they know: the ids and inputs that they were trained on."""
    train, clean = examples(0, 31), examples(100, 6)
    data = PreparedData(
        source=Source("points", train, None, ("a", "b", "c"), "table"),
        splits=Splits(train, clean, train.take([]), train.take([])),
        preprocessing=Preprocessing.fit(train, "table"),
        unavailable=None,
    )
    known = []

    def fake_training(method, settings, data):
        assert method == "plain"
        known.append(data.splits.train)
        return types.SimpleNamespace(network=data.splits.train, train_seconds=2.0)

    def fake_probabilities(network, held_out, preprocessing):
        assert not np.isin(held_out.ids, network.ids).any()
        return np.stack([held_out.ids, held_out.x[:, 0], held_out.y], axis=1)

    monkeypatch.setattr(label_errors.training, "train", fake_training)
    monkeypatch.setattr(label_errors.predictions, "class_probabilities", fake_probabilities)
    probabilities, seconds = label_errors.out_of_fold_probabilities(RunConfig(), data, 3)

    np.testing.assert_array_equal(probabilities[:, 0], train.ids)
    np.testing.assert_array_equal(probabilities[:, 1], train.x[:, 0])
    np.testing.assert_array_equal(probabilities[:, 2], train.y)
    assert seconds == 6
    given = np.concatenate([train.x, clean.x])
    for fold in known:
        assert np.isin(clean.ids, fold.ids).all()
        position = np.where(fold.ids < 100, fold.ids, fold.ids - 100 + len(train))
        np.testing.assert_array_equal(fold.x, given[position])
    assert sum(len(fold) for fold in known) == 2 * len(train) + 3 * len(clean)


def test_the_scores_of_a_whole_run_are_in_the_order_of_the_examples(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    again, seconds = label_errors.better_scores(SETTINGS, data)
    assert seconds > 0 and again.shape == (len(data.splits.train),)
    once, _ = label_errors.audit_scores(SETTINGS, data)
    # The run draws what the training alone draws.
    np.testing.assert_allclose(again, once, rtol=1e-3)


def test_the_scores_of_the_plain_network(blobs, monkeypatch):
    worse = paired.Difference(accuracy=-0.2, standard_error=0.05, examples=60)
    monkeypatch.setattr(outcome, "difference", lambda *right: worse)
    monkeypatch.setattr(TrainingResults, "has_memorized", False)
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    scores, _ = label_errors.better_scores(SETTINGS, data)
    plain = label_errors.training.train("plain", SETTINGS, data)
    train = data.splits.train
    found = label_errors.predictions.class_probabilities(plain.network, train, data.preprocessing)
    np.testing.assert_allclose(scores, found[np.arange(len(train)), train.y], rtol=1e-3)


def test_without_held_out_labels_the_better_network_is_not_known(blobs):
    settings = dataclasses.replace(SETTINGS, validation_fraction=0)
    with pytest.raises(UsageError, match="--validation_fraction"):
        label_errors.better_scores(settings, prepared_data.prepare(settings, settings.seed))


def rows(kind, seed, **auroc):
    costs = {"train_seconds": 3.0, "processor_seconds": 1.5}
    measures = dict.fromkeys(label_errors.MEASURES, 0.5)
    condition = {"noise_type": kind, "noise_ratio": 0.2, "seed": seed}
    return {
        method: condition | measures | costs | {"auroc": auroc.get(method, 0.6)}
        for method in ("audit", "cleanlab", "cleanlab_margin")
    }


def test_the_table_has_the_means_of_the_seeds():
    compared = [rows("pair", 0, audit=0.9), rows("background", 0), rows("pair", 1, audit=0.8)]
    compared[1]["cleanlab"]["auroc"] = 0.75
    lines = label_errors.table(compared).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [line[:3] + line[4:6] for line in cells] == [
        ["background", "20%", "0", "0.6000", "**0.5000**"],
        ["background", "20%", "0", "**0.7500**", "**0.5000**"],
        ["background", "20%", "0", "0.6000", "**0.5000**"],
        ["pair", "20%", "0, 1", "**0.8500**", "**0.5000**"],
        ["pair", "20%", "0, 1", "0.6000", "**0.5000**"],
        ["pair", "20%", "0, 1", "0.6000", "**0.5000**"],
    ]
    assert cells[0][-2:] == ["3.0", "1.5"]


def test_the_table_says_which_seeds_a_method_has():
    compared = [rows("pair", seed) for seed in (0, 1)]
    del compared[1]["cleanlab"]
    lines = label_errors.table(compared).splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == ["0, 1", "0", "0, 1"]
