from __future__ import annotations

import pytest
import tensorflow as tf

from l2rw_tf.reweighting.weights import effective_batch_size


@pytest.mark.parametrize("total", [1, 0.01, 0])
def test_the_effective_batch_size_is_of_the_shares(total):
    """Also of weights that do not sum to 1; by hand, of three, two and one parts of six."""
    w = tf.constant([3, 2, 1, 0], tf.float32) / 6 * total
    expected = 36 / 14 if total else 0
    assert float(effective_batch_size(w)) == pytest.approx(expected, rel=1e-5)
