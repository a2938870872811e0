from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.methods.random_weights import random_weights


def test_they_are_a_rectified_gaussian():
    weights = np.array([random_weights(100, (seed, 1)) for seed in range(400)])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights >= 0).all()
    assert np.mean(weights == 0) == pytest.approx(0.5, abs=0.01)
    # Of a half-normal variable: mean √(2/π), second moment 1.
    positive = weights[weights > 0] * weights.shape[1]
    ratio = np.mean(positive**2) / np.mean(positive) ** 2
    assert ratio == pytest.approx(np.pi / 2, rel=0.03)


def test_they_follow_from_the_seed_alone():
    first = random_weights(20, (3, 4))
    np.testing.assert_array_equal(first, tf.function(random_weights)(tf.constant(20), (3, 4)))
    assert not np.array_equal(first, random_weights(20, (3, 5)))
