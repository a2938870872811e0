from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.data import splits
from l2rw_tf.data.examples import Source
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.data.splits import Splits
from l2rw_tf.errors import UsageError
from tests.data.conftest import labelled


def split(source: Source, *, seed: int, **settings) -> Splits:
    settings = {"validation_fraction": 0.0, "test_fraction": 0.2, **settings}
    return splits.split(source, DataSettings(**settings), seed)


def ids(parts: Splits) -> list[set[int]]:
    return [set(getattr(parts, name).ids.tolist()) for name in ("train", "clean", "validation")]


def test_every_example_is_in_one_part_and_keeps_its_own_label(table: Source):
    parts = split(table, clean_per_class=7, validation_fraction=0.1, test_fraction=0.25, seed=3)
    sizes = [len(getattr(parts, name)) for name in ("train", "clean", "validation", "test")]
    assert sizes == [647, 28, 75, 250]
    everything = [*ids(parts), set(parts.test.ids.tolist())]
    assert sum(map(len, everything)) == 1000 and set.union(*everything) == set(range(1000))
    for part in (parts.train, parts.clean, parts.validation, parts.test):
        np.testing.assert_array_equal(part.x[:, 0], part.ids)
        np.testing.assert_array_equal(part.y, table.train.y[part.ids])
        assert part.true_y is None
        assert (np.diff(part.ids) > 0).all()


def test_a_source_with_a_test_part_keeps_it(table_with_test: Source):
    parts = split(
        table_with_test, clean_per_class=1, validation_fraction=0.1, test_fraction=0.5, seed=0
    )
    assert parts.test is table_with_test.test
    assert len(parts.train) + len(parts.clean) + len(parts.validation) == 1000


def test_clean_examples_are_balanced(table_with_test: Source):
    parts = split(table_with_test, clean_per_class=20, seed=0)
    assert np.bincount(parts.clean.y).tolist() == [20] * 4


def test_a_number_that_classes_do_not_divide_is_spread_by_one_at_most(table_with_test: Source):
    extra = set()
    for seed in range(20):
        counts = np.bincount(split(table_with_test, num_clean=15, seed=seed).clean.y, minlength=4)
        assert sorted(counts) == [3, 4, 4, 4]
        extra.add(int(np.argmin(counts)))
    assert extra == {0, 1, 2, 3}


def test_unbalanced_clean_examples_come_as_they_fall(table_with_test: Source):
    parts = split(table_with_test, num_clean=400, balanced_clean=False, seed=0)
    shares = np.bincount(parts.clean.y) / 400
    np.testing.assert_allclose(shares, np.bincount(table_with_test.train.y) / 1000, atol=0.08)


def test_clean_examples_stay_in_the_training_part_only_where_asked(table_with_test: Source):
    for inside in (False, True):
        parts = split(
            table_with_test,
            clean_per_class=5,
            validation_fraction=0.1,
            seed=1,
            clean_in_train=inside,
        )
        train, clean, validation = ids(parts)
        assert (clean <= train) is inside
        assert len(train & clean) == (20 if inside else 0)
        assert not validation & (train | clean)


def test_a_larger_clean_set_holds_the_smaller_one_and_validation_hardly_moves(
    table_with_test: Source,
):
    small = split(table_with_test, num_clean=10, validation_fraction=0.1, seed=2)
    large = split(table_with_test, num_clean=100, validation_fraction=0.1, seed=2)
    assert ids(small)[1] < ids(large)[1]
    assert len(ids(small)[2] & ids(large)[2]) > 80


def test_the_test_part_does_not_depend_on_the_other_arguments(table: Source):
    one = split(table, num_clean=10, seed=2)
    other = split(table, num_clean=50, validation_fraction=0.3, clean_in_train=True, seed=2)
    np.testing.assert_array_equal(one.test.ids, other.test.ids)


def test_seeds_differ(table: Source):
    assert ids(split(table, num_clean=20, seed=0)) != ids(split(table, num_clean=20, seed=1))


def test_a_class_without_examples_needs_no_clean_ones(table_with_test: Source):
    source = dataclasses.replace(table_with_test, class_names=("a", "b", "c", "d", "never"))
    assert np.bincount(split(source, num_clean=8, seed=0).clean.y).tolist() == [2, 2, 2, 2]
    assert len(split(source, clean_per_class=3, seed=0).clean) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clean_per_class": 200}, r"200 clean examples of class 'a' .* has only \d+"),
        ({"num_clean": 2000}, "500 clean examples of class 'a'"),
        ({"num_clean": 2000, "balanced_clean": False}, "num_clean=2000, but .* only 750"),
        ({"num_clean": 4, "validation_fraction": 0.9999}, "no training examples are left"),
        ({"num_clean": 4, "test_fraction": 1e-4}, "test_fraction=0.0001 takes 0 of its 1000"),
        ({"num_clean": 4, "seed": -1}, "seed must be at least 0"),
    ],
)
def test_what_cannot_be_is_one_clear_line(table: Source, arguments: dict, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        split(table, **{"seed": 0, "test_fraction": 0.25, **arguments})
    assert "\n" not in str(caught.value)


def test_a_part_of_one_example_each():
    source = Source("tiny", labelled([0, 1, 0, 1]), labelled([0]), ("a", "b"), "table")
    parts = split(source, clean_per_class=1, validation_fraction=0.25, seed=0)
    assert [len(parts.train), len(parts.clean), len(parts.validation)] == [1, 2, 1]
