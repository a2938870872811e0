from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples, examples_from
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.errors import UsageError

AS_IT_IS = Preprocessing(np.zeros(1, np.float32), np.ones(1, np.float32))


def numbered(n: int) -> Examples:
    return examples_from(np.arange(n, dtype=np.float32)[:, None], np.arange(n) % 3)


def batches(examples: Examples, count: int, **arguments) -> list:
    arguments = {"batch_size": 4, "seed": 0, **arguments}
    dataset = pipeline.training_batches(examples, AS_IT_IS, **arguments)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def test_every_epoch_goes_through_all_examples_in_an_order_of_its_own():
    examples = numbered(10)
    epochs = [batches(examples, 12, with_rows=True)[first : first + 3] for first in range(0, 12, 3)]
    orders = set()
    for epoch in epochs:
        assert [len(x) for x, _, _ in epoch] == [4, 4, 2]
        for x, y, ids in epoch:
            assert (x.dtype, y.dtype, ids.dtype) == (np.float32, np.int64, np.int64)
            np.testing.assert_array_equal(x[:, 0], ids)
            np.testing.assert_array_equal(y, ids % 3)
        order = tuple(np.concatenate([ids for _, _, ids in epoch]))
        assert sorted(order) == list(range(10))
        orders.add(order)
    assert len(orders) == 4


@pytest.mark.parametrize("start_step", [1, 3, 7])
@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_a_resumed_run_sees_the_batches_that_it_would_have_seen(start_step, augment):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
    examples = examples_from(images, np.arange(10))
    whole = batches(examples, 12, augment=augment, with_rows=True)
    rest = batches(
        examples, 12 - start_step, augment=augment, with_rows=True, start_step=start_step
    )
    for one, other in zip(whole[start_step:], rest, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_seeds_differ_and_large_ones_are_fine():
    orders = {
        tuple(np.concatenate([x[:, 0] for x, _ in batches(numbered(10), 3, seed=seed)]))
        for seed in (0, 1, 2**40, 2**63)
    }
    assert len(orders) == 4


def test_every_order_is_equally_likely():
    orders = [tuple(x[:, 0]) for x, _ in batches(numbered(3), 1200, batch_size=3)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    # 200 expected, standard deviation 13.
    assert np.abs(np.array(counts) - 200).max() < 60


def crops(image: np.ndarray, border_rows: int, border_columns: int, mirror: bool) -> set[bytes]:
    """All crops of an image with a border of zeros, the slow way."""
    height, width, channels = image.shape
    found = set()
    for top, left in np.ndindex(2 * border_rows + 1, 2 * border_columns + 1):
        crop = np.zeros_like(image)
        for row, column in np.ndindex(height, width):
            from_row, from_column = row + top - border_rows, column + left - border_columns
            if 0 <= from_row < height and 0 <= from_column < width:
                crop[row, column] = image[from_row, from_column]
        found.add(crop.tobytes())
        if mirror:
            found.add(crop[:, ::-1].tobytes())
    return found


@pytest.mark.parametrize(
    ("shape", "borders"),
    [((8, 8, 1), (1, 1)), ((16, 8, 3), (2, 1)), ((3, 5, 2), (1, 1)), ((32, 32, 1), (4, 4))],
)
@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_augmentation_draws_every_crop_and_no_other(shape, borders, augment):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = crops(images, *borders, mirror=augment == "crop_flip")
    assert len(expected) == (2 * borders[0] + 1) * (2 * borders[1] + 1) * (
        2 if augment == "crop_flip" else 1
    )
    repeated = tf.constant(np.repeat(images[None], 4000, axis=0))
    cropped = pipeline._crop(repeated, tf.constant([1, 2]), augment).numpy()
    assert {crop.tobytes() for crop in cropped} == expected


def test_the_border_has_the_mean_colour():
    images = np.full((2, 8, 8, 3), 200, np.uint8)
    images[1] = 100
    examples = examples_from(images, np.arange(2))
    preprocessing = Preprocessing.fit(examples, "image")
    dataset = pipeline.training_batches(
        examples, preprocessing, batch_size=2, seed=0, augment="crop"
    )
    values = np.unique(np.concatenate([x.ravel() for x, _ in dataset.take(20).as_numpy_iterator()]))
    # The mean, 150, is 0 after standardization.
    np.testing.assert_allclose(values, [-1, 0, 1], atol=1e-6)


def test_evaluation_gives_all_examples_in_their_order():
    examples = numbered(10).take(np.array([3, 1, 9, 0, 5]))
    seen = list(pipeline.evaluation_batches(examples, AS_IT_IS, batch_size=2).as_numpy_iterator())
    assert [len(y) for _, y in seen] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in seen])[:, 0], [3, 1, 9, 0, 5])
    np.testing.assert_array_equal(np.concatenate([y for _, y in seen]), [0, 1, 0, 0, 2])


def test_shapes_are_known_before_the_first_batch():
    examples = examples_from(np.zeros((5, 8, 6, 3), np.uint8), np.zeros(5))
    for augment in ("none", "crop_flip"):
        dataset = pipeline.training_batches(
            examples, AS_IT_IS, batch_size=2, seed=0, augment=augment, with_rows=True
        )
        assert [spec.shape.as_list() for spec in dataset.element_spec] == [
            [None, 8, 6, 3],
            [None],
            [None],
        ]
    # Known as well: the size of batches that are all of one size.
    dataset = pipeline.training_batches(examples, AS_IT_IS, batch_size=5, seed=0)
    assert [spec.shape.as_list() for spec in dataset.element_spec] == [[5, 8, 6, 3], [5]]
    dataset = pipeline.evaluation_batches(examples, AS_IT_IS, batch_size=2)
    assert dataset.element_spec[0].shape.as_list() == [None, 8, 6, 3]
    assert dataset.cardinality() == 3


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(10, 5, 2), (11, 5, 3), (3, 5, 1)])
def test_steps_per_epoch(n, batch_size, steps):
    assert pipeline.steps_per_epoch(n, batch_size) == steps


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (0, {}, "there are no examples"),
        (5, {"augment": "crop"}, "augment='crop' is for images"),
    ],
)
def test_what_gives_no_batches_is_refused(n, arguments, message):
    with pytest.raises(UsageError, match=message):
        batches(numbered(n), 1, **arguments)


UNEVEN = examples_from(
    np.arange(60, dtype=np.float32)[:, None], np.array([0] * 50 + [1] * 8 + [3] * 2)
)


def test_balanced_batches_have_as_many_of_each_class():
    drawn = batches(UNEVEN, 12, batch_size=8, sampling="balanced", with_rows=True)
    counts = np.array([np.bincount(y, minlength=4) for _, y, _ in drawn])
    assert (counts.sum(axis=1) == 8).all() and (counts[:, 2] == 0).all()
    occurring = counts[:, [0, 1, 3]]
    assert set(np.unique(occurring)) == {2, 3}
    # Who has one more changes in turn.
    np.testing.assert_array_equal(occurring.sum(axis=0), [32, 32, 32])
    for x, y, ids in drawn:
        np.testing.assert_array_equal(x[:, 0], ids)
        np.testing.assert_array_equal(y, UNEVEN.y[ids])


def test_balanced_batches_draw_every_example_of_a_class_alike():
    ids = np.concatenate(
        [i for _, _, i in batches(UNEVEN, 400, batch_size=60, sampling="balanced", with_rows=True)]
    )
    for members in (range(50), range(50, 58), range(58, 60)):
        counts = np.bincount(ids, minlength=60)[list(members)]
        expected = 400 * 20 / len(members)
        assert abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("start_step", [0, 5, 2**33])
def test_balanced_batches_follow_from_seed_and_step(start_step):
    arguments = {"sampling": "balanced", "with_rows": True, "batch_size": 7}
    ids = [
        [tuple(i) for _, _, i in batches(UNEVEN, 6, start_step=first, seed=seed, **arguments)]
        for first, seed in ((start_step, 1), (start_step + 2, 1), (start_step, 2))
    ]
    assert ids[0][2:] == ids[1][:4]
    assert ids[0] != ids[2]
