from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from l2rw_tf.methods.proportion import class_weights


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
