from __future__ import annotations

import numpy as np
import pytest

from l2rw_tf.data.randomness import (
    Stream,
    permutation,
    permutation_and_integers,
    tensorflow_seed,
)
from l2rw_tf.errors import UsageError


def test_orders_and_integers_stay_what_they_were_when_this_test_was_written():
    order, integers = permutation_and_integers(8, 5, 3, Stream.TRAIN_LABELS)
    assert permutation(8, 0, Stream.TEST_SPLIT).tolist() == [7, 4, 5, 1, 6, 2, 0, 3]
    assert (order.tolist(), integers.tolist()) == (
        [0, 7, 3, 1, 6, 5, 4, 2],
        [3, 0, 4, 3, 0, 4, 3, 1],
    )
    assert tensorflow_seed(0, Stream.BATCHES) == (83453495, 1668868549)


def test_every_position_is_equally_likely_at_every_place():
    orders = np.stack([permutation(5, seed, Stream.CLEAN_SPLIT) for seed in range(2000)])
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    counts = np.stack([np.bincount(orders[:, place], minlength=5) for place in range(5)])
    # 400 expected, standard deviation 18.
    assert np.abs(counts - 400).max() < 90


def test_integers_are_equally_likely_and_do_not_follow_the_order():
    order, integers = permutation_and_integers(20_000, 9, 1, Stream.TRAIN_LABELS)
    counts = np.bincount(integers[order[:10_000]], minlength=9)
    assert len(counts) == 9
    assert np.abs(counts - 10_000 / 9).max() < 5 * np.sqrt(10_000 / 9)


def test_streams_and_seeds_are_independent_and_numbered_once():
    orders = {tuple(permutation(10, seed, stream)) for seed in range(3) for stream in Stream}
    assert len(orders) == 3 * len(Stream)
    assert len({int(stream) for stream in Stream}) == len(Stream.__members__)


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="seed must be at least 0, got -1"):
        permutation(3, -1, Stream.TEST_SPLIT)
