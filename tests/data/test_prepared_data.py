from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.data import prepared_data
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import DataUnavailable, UsageError

NOISY = DataSettings(
    noise_type="uniform", noise_ratio=0.4, clean_per_class=2, validation_fraction=0.2
)


def test_training_and_validation_labels_are_corrupted_and_no_others(blobs):
    data = prepared_data.prepare(NOISY, 3)
    parts = data.splits
    assert (len(parts.clean), len(parts.validation)) == (6, 26)
    assert len(parts.train) == 130 - 6 - 26
    for part in (parts.train, parts.validation):
        truth = blobs.train.y[part.ids]
        assert np.count_nonzero(part.y != truth) == round(0.4 * len(part))
        np.testing.assert_array_equal(part.true_y, truth)
    np.testing.assert_array_equal(parts.clean.y, blobs.train.y[parts.clean.ids])
    np.testing.assert_array_equal(parts.test.y, blobs.test.y)
    wrong = np.count_nonzero(parts.train.y != blobs.train.y[parts.train.ids])
    assert data.wrong_label_share == wrong / len(parts.train)


def test_inputs_are_standardized_by_the_training_part(blobs):
    data = prepared_data.prepare(NOISY, 3)
    standardized = np.asarray(data.preprocessing(data.splits.train.x))
    np.testing.assert_allclose(standardized.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardized.std(axis=0), 1, atol=1e-5)


def test_without_corruption_nobody_knows_what_is_wrong(blobs):
    assert prepared_data.prepare(DataSettings(clean_per_class=2), 0).wrong_label_share is None


@pytest.mark.parametrize("part", ["training", "test"])
def test_a_class_without_examples_of_a_part_is_named(part, blobs, monkeypatch):
    parts = {"train": blobs.train, "test": blobs.test}
    if part == "training":
        rows = np.flatnonzero(blobs.train.y != 2)
        parts["train"] = blobs.train.take(np.append(rows, np.argmax(blobs.train.y == 2)))
    else:
        parts["test"] = blobs.test.take(np.flatnonzero(blobs.test.y != 2))
    source = dataclasses.replace(blobs, **parts)
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: source)
    # The only one is a clean one.
    settings = DataSettings(clean_per_class=1, labels_are_right=True)
    (note,) = prepared_data.prepare(settings, 0).source.notes
    assert note == f"there are no {part} examples of c ({np.sum(source.train.y == 2)} in all)"


def test_noise_needs_a_ratio_and_0_is_one(blobs):
    with pytest.raises(UsageError, match="noise_type=pair needs a noise_ratio"):
        prepared_data.prepare(DataSettings(noise_type="pair"), 0)
    assert prepared_data.prepare(DataSettings(noise_type="pair", noise_ratio=0), 0).clean_is_right


def _without_cifar(monkeypatch, source):
    def load(dataset, **where):
        if dataset == "cifar10":
            raise DataUnavailable("cifar10 is not here; fetch it.")
        return source

    monkeypatch.setattr(prepared_data.sources, "load", load)


def test_the_fallback_is_taken_where_the_data_is_not_to_be_had(blobs, monkeypatch):
    _without_cifar(monkeypatch, blobs)
    settings = dataclasses.replace(NOISY, dataset="cifar10", fallback_dataset="blobs")
    data = prepared_data.prepare(settings, 3)
    assert data.source.name == "blobs"
    assert data.unavailable == "cifar10 is not here; fetch it."


def test_without_a_fallback_missing_data_is_an_error(blobs, monkeypatch):
    _without_cifar(monkeypatch, blobs)
    with pytest.raises(DataUnavailable, match="cifar10 is not here"):
        prepared_data.prepare(dataclasses.replace(NOISY, dataset="cifar10"), 3)


def test_the_fallback_is_for_missing_data_only(blobs, monkeypatch):
    def load(dataset, **where):
        raise UsageError("the file is broken.")

    monkeypatch.setattr(prepared_data.sources, "load", load)
    with pytest.raises(UsageError, match="broken"):
        prepared_data.prepare(dataclasses.replace(NOISY, fallback_dataset="digits"), 3)


def _digits(**settings):
    settings = {"num_clean": 10, "validation_fraction": 0.1, **settings}
    return prepared_data.prepare(DataSettings(**settings), 0)


def test_chosen_classes_are_made_uneven_and_then_corrupted():
    data = _digits(
        classes=("4", "9"),
        imbalance_type="two_class",
        imbalance_ratio=9,
        dominating_class=1,
        num_examples=100,
        noise_type="pair",
        noise_ratio=0.1,
    )
    train, validation = data.splits.train, data.splits.validation
    assert data.source.class_names == ("4", "9")
    assert np.bincount(train.true_y).tolist() == [10, 90]
    assert np.count_nonzero(train.y != train.true_y) == 10
    assert data.training_class_counts == np.bincount(train.y).tolist() != [10, 90]
    small, large = np.bincount(validation.true_y)
    assert round(large / 9) == small
    assert np.bincount(data.splits.clean.y).tolist() == [5, 5]
    assert set(np.unique(data.splits.test.y)) == {0, 1}
    held_out = (data.splits.clean, data.splits.validation)
    assert not any(set(train.ids) & set(part.ids) for part in held_out)


def test_fewer_training_examples_leave_the_held_out_ones_alone():
    all_of_them, some = _digits(), _digits(num_examples=50)
    assert len(some.splits.train) == 50
    np.testing.assert_array_equal(some.splits.validation.ids, all_of_them.splits.validation.ids)
    np.testing.assert_array_equal(some.splits.clean.ids, all_of_them.splits.clean.ids)


def test_held_out_examples_that_cannot_be_so_uneven_are_named():
    two_classes = {"classes": ("4", "9"), "imbalance_type": "two_class"}
    with pytest.raises(UsageError, match="held-out examples .validation_fraction.: with this imb"):
        _digits(**two_classes, imbalance_ratio=200)
    data = _digits(**two_classes, imbalance_ratio=100, validation_fraction=0.0)
    assert data.training_class_counts == [max(data.training_class_counts), 1]
