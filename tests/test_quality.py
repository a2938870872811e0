"""From the table of the examples to scores, suspects and measures of detection."""

from __future__ import annotations

import math

import numpy as np
import pytest

import l2rw_tf
from l2rw_tf import quality as audit
from l2rw_tf.errors import UsageError


def table(seed=0, n=200, classes=4):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    given = np.where(rng.random(n) < 0.3, (true + 1) % classes, true)
    right = given == true
    probability = np.clip(rng.normal(np.where(right, 0.7, 0.3), 0.25), 0, 1)
    return {
        "id": np.arange(n),
        "given_label": given,
        "true_label": true,
        "given_probability": probability,
        "mean_loss": -np.log(np.clip(probability + rng.normal(0, 0.1, n), 0.01, 1)),
        "mean_u": rng.normal(np.where(right, 0.5, -0.5), 1),
    }


def test_quality_by_hand():
    """All figures; an example that was never seen; one figure alone; extreme figures."""
    quality = l2rw_tf.label_quality(
        {
            "given_probability": [0.5, 0.5, 1.0],
            "mean_loss": [math.log(5), math.nan, 0.0],
            "mean_u": [0.25, math.nan, 1e9],
        }
    )
    by_hand = [(0.125 + 0.15 + 0.1 / (1 + math.exp(-1))) / 1.1, (0.5 + 0.05) / 1.1, 1.0]
    np.testing.assert_allclose(quality, by_hand)
    np.testing.assert_allclose(audit.label_quality({"given_probability": [0.2]}), [0.2])
    np.testing.assert_allclose(
        audit.label_quality({"mean_u": [-0.25, -1e9]}), [1 / (1 + math.e), 0], atol=1e-12
    )
    with pytest.raises(UsageError, match="given_probability, got id"):
        audit.label_quality({"id": [1]})


def test_the_score_says_what_it_goes_by():
    assert "alignment" in audit.basis_of_score({"mean_u": []})
    assert "probability" not in audit.basis_of_score({"mean_u": []})
    assert "alignment" not in audit.basis_of_score({"given_probability": []})
    both = audit.basis_of_score({"given_probability": [], "mean_u": []})
    assert "alignment" in both and "probability" in both


def test_the_ranking_keeps_rows_together():
    given = audit.with_quality(table())
    ranking = audit.ranked(given)
    assert (np.diff(ranking["label_quality"]) >= 0).all()
    for name in given:
        np.testing.assert_array_equal(ranking[name], given[name][ranking["id"]])


def test_suspects_by_threshold_and_by_number():
    examples = {"label_quality": np.array([0.9, 0.1, 0.19, 0.2, 0.6])}
    assert audit.suspects(examples).tolist() == [False, True, True, False, False]
    assert audit.suspects(examples, threshold=0.7).tolist() == [False, True, True, True, True]
    assert audit.suspects(examples, expected_noise=0.2).tolist() == [False, True] + [False] * 3
    assert not audit.suspects(examples, expected_noise=0).any()
    examples |= {"given_label": np.arange(5), "suggested_label": np.array([0, 1, 0, 0, 0])}
    assert audit.suspects(examples).tolist() == [False, False, True, False, False]


def test_detection_against_counting_pairs():
    """AUROC as the share of pairs in order, ties by half; average precision by its definition."""
    examples = audit.with_quality(table())
    wrong, quality = examples["given_label"] != examples["true_label"], examples["label_quality"]
    pairs = [
        1.0 if low < high else 0.5 if low == high else 0.0
        for low in quality[wrong]
        for high in quality[~wrong]
    ]
    order = np.argsort(quality)
    hits = wrong[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    found = audit.detection(examples)
    assert found.auroc == pytest.approx(np.mean(pairs))
    assert found.average_precision == pytest.approx(precision[hits].mean())
    assert found.precision_at_true_number == pytest.approx(hits[: wrong.sum()].mean())
    assert 0.7 < found.auroc < 1


def test_nothing_is_measured_without_truth_or_without_wrong_labels():
    examples = audit.with_quality(table())
    right = examples | {"given_label": examples["true_label"]}
    assert audit.detection(right) is None
    del examples["true_label"]
    assert audit.detection(examples) is None


def test_doubtful_labels_by_hand():
    """Thresholds: (0.9 + 0.7 + 0.2) / 3 = 0.6 for class 0, (0.8 + 0.6) / 2 = 0.7 for class 1."""
    ones = np.array([0.1, 0.3, 0.8, 0.8, 0.6])
    labels = np.array([0, 0, 0, 1, 1])
    found = audit.doubtful(np.stack([1 - ones, ones], axis=1), labels)
    assert found.tolist() == [False, False, True, False, False]
    # Surer of another class than of the label, but less than of that class's own: it is hard.
    ones[2] = 0.65
    assert not audit.doubtful(np.stack([1 - ones, ones], axis=1), labels).any()


def test_a_class_without_trusted_examples_is_never_held_against_a_label():
    probabilities = np.array([[0.1, 0.0, 0.9], [0.2, 0.8, 0.0], [0.6, 0.1, 0.3]])
    assert not audit.doubtful(probabilities, np.array([0, 1, 0])).any()


def test_doubtful_labels_are_the_wrong_ones_among_well_separated_classes():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 200)
    labels = np.where(np.arange(200) < 20, (true + 1) % 5, true)
    probabilities = rng.dirichlet(np.ones(5), 200) * 0.2
    probabilities[np.arange(200), true] += 0.8
    found = audit.doubtful(probabilities, labels)
    assert not found[20:].any() and found[:20].sum() >= 10
