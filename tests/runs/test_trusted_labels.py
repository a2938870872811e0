"""Runs on labels that are taken as they are: who says what is right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from l2rw_tf.command_line import settings
from l2rw_tf.comparison.plan import ComparisonConfig
from l2rw_tf.data import examples, prepared_data
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import batches, training, words
from l2rw_tf.runs.config import RunConfig

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.cfg"))
AS_THEY_ARE = RunConfig(network="mlp", epochs=1, clean_per_class=3)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({}, "method=l2rw"),
        ({"method": "clean_only"}, "method=clean_only"),
        ({"method": "plain", "finetune_steps": 2}, "finetune_steps=2"),
    ],
)
def test_labels_of_which_nobody_says_that_they_are_right(flags, named, blobs):
    config = dataclasses.replace(AS_THEY_ARE, **flags)
    with pytest.raises(UsageError, match=f"{named} .*clean_data.*true_label_column.*are_right"):
        training.check(config, prepared_data.prepare(config, 0))
    for said in (
        {"labels_are_right": True},
        {"noise_type": "pair", "noise_ratio": 0.0},
        {"method": "plain", "finetune_steps": 0},
    ):
        config = dataclasses.replace(AS_THEY_ARE, **{**flags, **said})
        training.check(config, prepared_data.prepare(config, 0))


@pytest.mark.parametrize("flags", [{}, {"method": "clean_only"}])
def test_trusted_examples_lack_classes(flags, blobs, monkeypatch):
    trusted = blobs.train.take(np.flatnonzero(blobs.train.y == 1))
    source = dataclasses.replace(blobs, trusted=trusted)
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: source)
    config = RunConfig(network="mlp", **flags)
    with pytest.raises(UsageError, match="trusted examples of all classes, .* none of a, c; add"):
        training.check(config, prepared_data.prepare(config, 0))
    plain = RunConfig(network="mlp", method="plain")
    training.check(plain, prepared_data.prepare(plain, 0))


def test_embedded_digits_are_right(tmp_path):
    config = dataclasses.replace(AS_THEY_ARE, network="lenet", data_dir=str(tmp_path))
    training.check(config, prepared_data.prepare(config, 0))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_where_its_clean_examples_come_from(path):
    config, _ = settings.from_arguments([f"--flagfile={path}"], RunConfig, ComparisonConfig)
    truth = config.labels_are_right or config.true_label_column
    assert config.noise_type != "none" or truth or config.dataset == "digits"


def test_contradictions():
    for flags in (
        {"labels_are_right": True, "true_label_column": "truth"},
        {"clean_in_train": True, "clean_data": "clean"},
    ):
        with pytest.raises(UsageError, match="|".join(flags)):
            RunConfig(**flags)


@pytest.mark.parametrize("counts", [(20, 5, 1), (4, 4, 4), (30, 0, 2)])
def test_clean_batches_are_balanced_whatever_the_trusted_set_holds(counts, blobs):
    """Each batch is a function of seed and step alone."""
    y = np.repeat(np.arange(3), counts)
    trusted = examples.examples_from(np.eye(4, dtype=np.float32)[y], y)
    source = dataclasses.replace(blobs, trusted=trusted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_data.sources, "load", lambda dataset, **where: source)
        data = prepared_data.prepare(RunConfig(), 0)
    assert len(data.splits.clean) == len(y)
    made = batches.Batches(data, 0, 12, None, "none")
    drawn = [labels.numpy() for _, labels in made.clean(0).take(5)]
    for labels in drawn:
        sizes = np.bincount(labels, minlength=3)[np.asarray(counts) > 0]
        assert len(labels) == 12 and np.ptp(sizes) <= 1
    (_, again), *_ = made.clean(3).take(1)
    np.testing.assert_array_equal(again, drawn[3])


def test_the_heading_says_how_many_labels_of_the_source_are_wrong(blobs, monkeypatch):
    y = blobs.train.y.copy()
    y[:26] = (y[:26] + 1) % 3
    noisy = dataclasses.replace(blobs, train=blobs.train.with_labels(y))
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: noisy)
    data = prepared_data.prepare(AS_THEY_ARE, 0)
    assert words.heading(AS_THEY_ARE, data, 0) == (
        "blobs, labels as they are (20.0% of the source's labels are wrong), seed 0"
    )
    np.testing.assert_array_equal(data.splits.clean.y, data.splits.clean.true_y)
