from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2rw_tf.data import corruption, noise_maps
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.prepared_data import prepare
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError
from tests.data.conftest import labelled

CLASSES = 10


def corrupt(examples: Examples, *, num_classes: int, seed: int, part="train", **settings):
    return corruption.corrupt(examples, DataSettings(**settings), num_classes, seed, part)


def imbalance(examples: Examples, *, num_classes: int, seed: int, **settings):
    return corruption.imbalance(examples, DataSettings(**settings), num_classes, seed)


def noisy(n: int, noise_type: str, noise_ratio: float, seed: int = 0, **arguments):
    examples = labelled(np.arange(n) % CLASSES)
    return corrupt(
        examples,
        noise_type=noise_type,
        noise_ratio=noise_ratio,
        num_classes=CLASSES,
        seed=seed,
        **arguments,
    )


@given(
    n=st.integers(1, 300),
    noise_ratio=st.floats(0, 1),
    noise_type=st.sampled_from(["uniform", "pair"]),
    seed=st.integers(0, 2**40),
)
def test_exactly_the_fraction_asked_for_is_wrong(n, noise_ratio, noise_type, seed):
    examples = noisy(n, noise_type, noise_ratio, seed)
    assert (examples.y != examples.true_y).sum() == round(noise_ratio * n)
    assert examples.y.dtype == np.int64
    np.testing.assert_array_equal(examples.true_y, np.arange(n) % CLASSES)
    np.testing.assert_array_equal(examples.ids, np.arange(n))


def test_uniform_flips_to_every_wrong_class_with_the_same_chance():
    examples = noisy(50_000, "uniform", 0.4)
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (examples.true_y, examples.y), 1)
    assert counts.sum() - np.trace(counts) == 20_000
    # Each of the 90 wrong pairs has 222 expected, standard deviation 15.
    wrong = counts[~np.eye(CLASSES, dtype=bool)]
    assert np.abs(wrong - 20_000 / 90).max() < 75


def test_a_flip_that_may_keep_draws_from_all_classes():
    examples = noisy(50_000, "uniform", 0.4, flip_may_keep=True)
    # 20,000 chosen, of which 9 in 10 change: 18,000 expected, standard deviation 42.
    assert abs((examples.y != examples.true_y).sum() - 18_000) < 200


def test_background_chooses_of_all_labels():
    examples = noisy(50_000, "background", 0.4, background_class=7)
    wrong = examples.y != examples.true_y
    assert (examples.y[wrong] == 7).all()
    # A tenth of the 20,000 chosen is background already; standard deviation 33.
    assert abs(wrong.sum() - 18_000) < 200
    everything = noisy(200, "background", 1.0, background_class=7)
    assert (everything.y == 7).all()


def test_asymmetric_noise_follows_the_map():
    examples = noisy(1000, "asymmetric", 0.8, noise_map=("9:1", "3:5", "5:3"))
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (examples.true_y, examples.y), 1)
    # 80 % of the 300 examples of the three classes, and no other.
    assert counts[9, 1] + counts[3, 5] + counts[5, 3] == 240
    assert counts[9, 9] + counts[3, 3] + counts[5, 5] == 60
    assert counts.sum() - np.trace(counts) == 240


@pytest.mark.parametrize(
    ("dataset", "classes", "flips"),
    [
        # Truck, bird, deer, cat and dog.
        ("cifar10", 10, {9: 1, 2: 0, 4: 7, 3: 5, 5: 3, 8: 8}),
        # Beaver to dolphin, whale to beaver, bed to chair, woman to baby.
        ("cifar100", 100, {4: 30, 95: 4, 5: 20, 98: 2}),
    ],
)
def test_the_usual_maps_of_cifar(dataset, classes, flips):
    found = noise_maps.noise_map((), dataset, classes)
    assert {source: found[source] for source in flips} == flips
    if dataset == "cifar100":
        # Cycles of five: each class is taken for another one, and after five for itself.
        assert sorted(found) == list(range(100)) and (found != np.arange(100)).all()
        assert (found[found[found[found[found]]]] == np.arange(100)).all()


@pytest.mark.parametrize("pairs", [("9",), ("9:x",), ("1:10",), ("1:2:3",)])
def test_no_map_is_one_clear_line(pairs):
    with pytest.raises(UsageError, match="noise_map must be pairs"):
        noise_maps.noise_map(pairs, "digits", 10)
    for twice in (("9:1", "9:2"), ("3:3",)):
        with pytest.raises(UsageError, match=f"the pair {twice[-1]} "):
            noise_maps.noise_map(twice, "digits", 10)
    with pytest.raises(UsageError, match="needs a noise_map"):
        noise_maps.noise_map((), "digits", 10)


def test_pair_flips_to_the_next_class():
    examples = noisy(1000, "pair", 0.5)
    wrong = examples.y != examples.true_y
    np.testing.assert_array_equal(examples.y[wrong], (examples.true_y[wrong] + 1) % CLASSES)


def test_no_noise_claims_no_truth():
    examples = labelled([0, 1])
    assert corrupt(examples, noise_type="none", noise_ratio=0.0, num_classes=2, seed=0) is examples
    assert examples.true_y is None


def test_a_second_corruption_keeps_the_first_truth():
    once = noisy(1000, "pair", 0.5)
    twice = corrupt(once, noise_type="uniform", noise_ratio=0.3, num_classes=CLASSES, seed=1)
    np.testing.assert_array_equal(twice.true_y, once.true_y)


def test_labels_are_those_of_the_seed_and_the_part():
    one = noisy(1000, "uniform", 0.4, seed=1).y
    np.testing.assert_array_equal(one, noisy(1000, "uniform", 0.4, seed=1).y)
    assert (one != noisy(1000, "uniform", 0.4, seed=2).y).any()
    assert (one != noisy(1000, "uniform", 0.4, seed=1, part="validation").y).any()


def test_clean_examples_are_made_wrong_only_if_asked_for():
    settings = {"dataset": "digits", "noise_type": "background", "noise_ratio": 0.4}
    usual = prepare(DataSettings(**settings), seed=0).splits
    spoiled = prepare(DataSettings(**settings, clean_noise_ratio=0.1), seed=0).splits
    assert usual.clean.true_y is None
    np.testing.assert_array_equal(spoiled.clean.true_y, usual.clean.y)
    assert (spoiled.clean.y != usual.clean.y).sum() == 10 == round(0.1 * len(usual.clean))
    np.testing.assert_array_equal(spoiled.train.y, usual.train.y)
    np.testing.assert_array_equal(spoiled.validation.y, usual.validation.y)


def test_more_noise_keeps_the_wrong_labels_of_less():
    less, more = noisy(1000, "uniform", 0.2), noisy(1000, "uniform", 0.4)
    wrong = less.y != less.true_y
    np.testing.assert_array_equal(less.y[wrong], more.y[wrong])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"noise_type": "background", "background_class": 10},
            "background_class must be a class from 0 to 9, got 10",
        ),
    ],
)
def test_impossible_noise_is_one_clear_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        noisy(20, **{"noise_type": "uniform", "noise_ratio": 0.4, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ratio", "smaller"), [(1, 2500), (20, 238), (100, 50), (200, 25), (0.995 / 0.005, 25)]
)
def test_two_classes_are_as_uneven_as_asked_for(ratio, smaller):
    examples = labelled(np.arange(12_000) % 2)
    left = imbalance(
        examples,
        imbalance_type="two_class",
        num_classes=2,
        seed=0,
        imbalance_ratio=ratio,
        num_examples=5000,
        dominating_class=1,
    )
    assert np.bincount(left.y).tolist() == [smaller, 5000 - smaller]
    np.testing.assert_array_equal(left.x[:, 0], left.ids)
    np.testing.assert_array_equal(left.y, left.ids % 2)
    assert (np.diff(left.ids) > 0).all()


def test_a_long_tail_falls_geometrically_from_the_first_class_to_the_last():
    examples = labelled(np.arange(50_000) % 10)
    left = imbalance(
        examples, imbalance_type="long_tailed", num_classes=10, seed=0, imbalance_ratio=100
    )
    # Cui et al. 2019: n_c = n_0 * 100 ** (-c / 9).
    expected = [5000 * 100 ** (-c / 9) for c in range(10)]
    np.testing.assert_allclose(np.bincount(left.y), expected, atol=1)
    assert np.bincount(left.y)[0] == 5000 and np.bincount(left.y)[-1] == 50


def test_without_a_number_as_many_stay_as_can():
    examples = labelled([0] * 10 + [1] * 100)
    left = imbalance(examples, imbalance_type="two_class", num_classes=2, seed=0, imbalance_ratio=2)
    assert np.bincount(left.y).tolist() == [10, 5]
    left = imbalance(
        examples,
        imbalance_type="two_class",
        num_classes=2,
        seed=0,
        imbalance_ratio=2,
        dominating_class=1,
    )
    assert np.bincount(left.y).tolist() == [10, 20]


def test_no_imbalance_leaves_all_or_a_random_number():
    examples = labelled(np.arange(100) % 2)
    assert imbalance(examples, imbalance_type="none", num_classes=2, seed=0) is examples
    some = imbalance(examples, imbalance_type="none", num_classes=2, seed=0, num_examples=30)
    assert len(some) == 30
    other = imbalance(examples, imbalance_type="none", num_classes=2, seed=1, num_examples=30)
    assert set(some.ids) != set(other.ids)


def test_imbalance_and_noise_together():
    examples = labelled(np.arange(2000) % 10)
    left = imbalance(
        examples, imbalance_type="long_tailed", num_classes=10, seed=0, imbalance_ratio=10
    )
    both = corrupt(left, noise_type="uniform", noise_ratio=0.4, num_classes=10, seed=0)
    assert (both.y != both.true_y).sum() == round(0.4 * len(left))
    np.testing.assert_array_equal(both.true_y, both.ids % 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 3}, "'two_class' needs data of 2 classes, but it has 3"),
        ({"num_examples": 90}, "90 examples need 60 of class 0, which has 50"),
        ({"imbalance_ratio": 1000}, "need 0 of class 1"),
        (
            {"imbalance_type": "none", "imbalance_ratio": 1, "num_examples": 101},
            "there are only 100 examples",
        ),
    ],
)
def test_impossible_imbalance_is_one_clear_line(arguments, message):
    arguments = {
        "imbalance_type": "two_class",
        "num_classes": 2,
        "imbalance_ratio": 2,
        **arguments,
    }
    with pytest.raises(UsageError, match=message) as caught:
        imbalance(labelled(np.arange(100) % 2), seed=0, **arguments)
    assert "\n" not in str(caught.value)
