"""Which examples accuracy is measured on, if nobody knows whether the test labels are right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.data import corrections, examples, prepared_data
from l2rw_tf.data.corrections import Correction
from l2rw_tf.data.origins import content_hash
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError

COUNTS = (20, 9, 3)


@pytest.fixture
def with_trusted(blobs, monkeypatch):
    """The blobs with trusted examples, two of which are copies of training examples."""
    y = np.repeat(np.arange(3), COUNTS)
    x = np.random.default_rng(1).normal(size=(len(y), *blobs.input_shape)).astype(np.float32)
    source = dataclasses.replace(blobs, trusted=examples.examples_from(x, y))

    def load(dataset, **where):
        return source

    monkeypatch.setattr(prepared_data.sources, "load", load)
    return source


def _prepare(seed=0, **settings):
    return prepared_data.prepare(DataSettings(validation_fraction=0.2, **settings), seed)


def _hashes(part):
    return set(content_hash(part).tolist())


def test_a_part_of_each_class_is_held_out_of_everything(with_trusted, monkeypatch):
    data = _prepare()
    held = data.splits.trusted_test
    assert np.bincount(held.y, minlength=3).tolist() == [5, 2, 0]
    assert np.bincount(data.splits.clean.y).tolist() == [15, 7, 3]
    assert not _hashes(held) & _hashes(data.splits.clean)
    assert data.test_labels == "as given" and "7 held-out trusted examples" in data.measured_on
    # Copies of held-out examples are among those that are trained on, with a wrong label.
    train, validation = data.splits.train.ids[[0, 1]], data.splits.validation.ids[0]
    x = with_trusted.train.x.copy()
    x[[*train, validation]] = held.x[[0, 0, 1]]
    changed = dataclasses.replace(with_trusted, train=dataclasses.replace(with_trusted.train, x=x))
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: changed)
    with_copies = _prepare()
    assert set(data.splits.train.ids) - set(with_copies.splits.train.ids) == set(train)
    assert validation not in with_copies.splits.validation.ids
    assert "3 other examples with their content are left out" in with_copies.measured_on


def test_the_part_is_the_same_for_every_seed_and_in_every_round(with_trusted, tmp_path):
    first = _prepare(seed=0)
    path = tmp_path / "c.csv"
    # All of a class is reviewed, and becomes trusted too.
    reviewed = first.splits.train.take(np.flatnonzero(first.splits.train.y == 2))
    path.write_text(
        corrections.as_csv([Correction(one, "", "", "right", "") for one in reviewed.origins]),
        encoding="utf-8",
    )
    again = _prepare(seed=7, corrections=str(path))
    held = again.splits.trusted_test
    np.testing.assert_array_equal(held.x, first.splits.trusted_test.x)
    np.testing.assert_array_equal(held.y, first.splits.trusted_test.y)
    assert len(again.splits.clean) == len(first.splits.clean) + len(reviewed)
    assert not _hashes(held) & _hashes(again.splits.clean)


def test_the_same_content_under_two_names_stays_on_one_side(with_trusted, monkeypatch):
    x = with_trusted.trusted.x.copy()
    x[:20] = x[[0, 1, 2, 3, 4] * 4]
    twins = dataclasses.replace(
        with_trusted, trusted=dataclasses.replace(with_trusted.trusted, x=x)
    )
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: twins)
    parts = _prepare().splits
    assert not _hashes(parts.trusted_test) & _hashes(parts.clean)
    assert np.bincount(parts.trusted_test.y).tolist() == [4, 2]


@pytest.mark.parametrize(
    "said",
    [
        {"test_labels_are_right": True},
        {"labels_are_right": True},
        {"noise_type": "uniform", "noise_ratio": 0.2},
    ],
)
def test_true_test_labels_leave_the_trusted_examples_alone(said, with_trusted):
    data = _prepare(**said)
    assert data.test_labels == "true" and data.splits.trusted_test is None
    assert len(data.splits.clean) == sum(COUNTS)
    assert f"{len(with_trusted.test)} test examples with true labels" in data.measured_on


def test_too_few_to_hold_any_out(with_trusted, blobs, monkeypatch):
    few = _prepare(trusted_test_fraction=0.01)
    assert few.splits.trusted_test is None and len(few.splits.clean) == sum(COUNTS)
    assert "no accuracy is measured" in few.measured_on and "32 given trusted" in few.measured_on
    assert "trusted_test_fraction=0.01 needs at least 100" in few.measured_on
    none = _prepare(trusted_test_fraction=0)
    assert "none of the trusted examples are held out" in none.measured_on
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: blobs)
    assert "no trusted examples to hold out" in _prepare().measured_on


def test_held_out_examples_are_the_test_data_if_there_is_none(with_trusted, monkeypatch):
    without = dataclasses.replace(with_trusted, test=None)
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: without)
    # They are the test data then: a part of the others would cost examples and measure nothing.
    data = _prepare()
    assert data.test_labels == "trusted" and data.splits.test.y.tolist() == [0] * 5 + [1] * 2
    assert len(data.splits.train) + len(data.splits.validation) == len(without.train)
    assert data.measured_on.startswith("accuracy is measured on 7 held-out trusted examples")
    with pytest.raises(UsageError, match="test_labels_are_right .*test_fraction"):
        _prepare(test_labels_are_right=True)


def test_reviewed_examples_are_never_what_accuracy_is_measured_on(blobs, tmp_path):
    path = tmp_path / "c.csv"
    reviewed = _prepare().splits.train.origins[:60]
    path.write_text(
        corrections.as_csv([Correction(one, "", "", "right", "") for one in reviewed]), "utf-8"
    )
    data = _prepare(corrections=str(path))
    assert data.splits.trusted_test is None and len(data.splits.clean) == 60
    assert "no trusted examples to hold out" in data.measured_on
