from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from l2rw_tf.reweighting.weights import class_weights, effective_batch_size, random_weights


def test_random_weights_are_a_rectified_gaussian():
    weights = np.array([random_weights(100, (seed, 1)) for seed in range(400)])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights >= 0).all()
    assert np.mean(weights == 0) == pytest.approx(0.5, abs=0.01)
    # Of a half-normal variable: mean √(2/π), second moment 1.
    positive = weights[weights > 0] * weights.shape[1]
    ratio = np.mean(positive**2) / np.mean(positive) ** 2
    assert ratio == pytest.approx(np.pi / 2, rel=0.03)


def test_random_weights_follow_from_the_seed_alone():
    first = random_weights(20, (3, 4))
    np.testing.assert_array_equal(first, tf.function(random_weights)(tf.constant(20), (3, 4)))
    assert not np.array_equal(first, random_weights(20, (3, 5)))


@pytest.mark.parametrize("labels", [[0, 0, 0, 1], [2, 0, 1, 1, 2, 2, 2], [0] * 199 + [1]], ids=len)
def test_inverse_frequencies_are_those_of_scikit_learn(labels):
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    found = class_weights(np.bincount(labels))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.mean(found[labels]) == pytest.approx(1)


def test_a_class_without_examples_takes_no_part():
    np.testing.assert_allclose(class_weights([0, 3, 1]), [0, 2 / 3, 2])


def test_weights_give_each_class_the_size_that_is_wanted():
    given, true = np.array([46, 6, 48]), np.array([10, 40, 50])
    np.testing.assert_allclose(class_weights(given, true) * given, true, rtol=1e-6)


@pytest.mark.parametrize("total", [1, 0.01, 0])
def test_the_effective_batch_size_is_of_the_shares(total):
    """Also of weights that do not sum to 1; by hand, of three, two and one parts of six."""
    w = tf.constant([3, 2, 1, 0], tf.float32) / 6 * total
    expected = 36 / 14 if total else 0
    assert float(effective_batch_size(w)) == pytest.approx(expected, rel=1e-5)
