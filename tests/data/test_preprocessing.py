from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from l2rw_tf.data.examples import examples_from
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.errors import UsageError

RANDOM = np.random.default_rng(0)


def test_images_are_standardized_by_channel():
    images = RANDOM.integers(0, 256, (1100, 6, 5, 3), np.uint8)
    images[..., 1] //= 3
    preprocessing = Preprocessing.fit(examples_from(images, np.zeros(1100)), "image")
    mean, deviation = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    np.testing.assert_allclose(preprocessing.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(preprocessing.standard_deviation, deviation, rtol=1e-6)
    standardized = preprocessing(images[:10])
    assert standardized.dtype == np.float32
    np.testing.assert_allclose(standardized, (images[:10] - mean) / deviation, atol=1e-5)


def test_tables_are_standardized_by_feature_as_scikit_learn_does():
    rows = (RANDOM.random((200, 4)) * [1, 1e6, 1e-6, 50] + [0, 1e7, 0, -3]).astype(np.float32)
    preprocessing = Preprocessing.fit(examples_from(rows, np.zeros(200)), "table")
    expected = StandardScaler().fit_transform(rows.astype(np.float64))
    # Near 1e7, float32 steps by 1 in a deviation of 3e5.
    np.testing.assert_allclose(preprocessing(rows), expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e8, -1e-30, 3e38])
def test_a_constant_feature_becomes_zero(value):
    rows = np.full((7, 2), value, np.float32)
    rows[:, 1] = np.arange(7)
    preprocessing = Preprocessing.fit(examples_from(rows, np.zeros(7)), "table")
    result = preprocessing(rows).numpy()
    np.testing.assert_array_equal(result[:, 0], 0)
    assert np.isfinite(result).all() and result[:, 1].std() > 0.9


def test_a_missing_feature_is_the_mean_of_the_others_as_scikit_learn_imputes(tmp_path):
    rows = (RANDOM.normal(size=(60, 4)) * [1, 1e6, 1e-6, 3] + [0, 1e7, 0, 1]).astype(np.float32)
    rows[RANDOM.random(rows.shape) < 0.2] = np.nan
    # One that nobody knows of any.
    rows[:, 3] = np.nan
    preprocessing = Preprocessing.fit(examples_from(rows, np.zeros(60)), "table")
    filled = SimpleImputer().fit_transform(rows[:, :3].astype(np.float64))
    assert preprocessing.mean.tolist()[3] == 0 and preprocessing.standard_deviation.tolist()[3] == 1
    found = preprocessing(rows).numpy()
    np.testing.assert_array_equal(found[:, 3], 0)
    known = ~np.isnan(rows[:, :3])
    np.testing.assert_array_equal(found[:, :3][~known], 0)
    deviation = np.nanstd(rows[:, :3].astype(np.float64), axis=0)
    expected = (filled - filled.mean(axis=0)) / deviation
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-4)
    inputs = keras.Input((4,), dtype="float32")
    keras.Model(inputs, preprocessing.in_keras(inputs)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model(rows), found)
    # A network that does its own standardization gets the mean.
    raw = preprocessing.left_out()(rows).numpy()
    np.testing.assert_array_equal(raw[:, :3][known], rows[:, :3][known])
    np.testing.assert_allclose(raw[:, :3], filled, rtol=1e-6)


def test_a_constant_channel_becomes_zero():
    images = np.full((3, 2, 2, 1), 77, np.uint8)
    preprocessing = Preprocessing.fit(examples_from(images, np.zeros(3)), "image")
    np.testing.assert_array_equal(preprocessing(images), 0)


def test_features_at_the_ends_of_float32_stay_finite():
    rows = np.array([[3e38, 1e-44], [-3e38, 0]], np.float32)
    preprocessing = Preprocessing.fit(examples_from(rows, np.zeros(2)), "table")
    np.testing.assert_allclose(preprocessing(rows), [[1, 0], [-1, 0]], atol=1e-6)


def test_an_empty_training_set_is_refused():
    with pytest.raises(UsageError, match="the training set is empty"):
        Preprocessing.fit(examples_from(np.zeros((0, 2)), np.zeros(0)), "table")


@pytest.mark.parametrize(
    "rows",
    [
        RANDOM.normal(size=(50, 4)) * [1, 1e6, 1e-6, 50] + [0, 1e7, 0, -3],
        RANDOM.normal(size=(50, 3)) * [1e-12, 1, 1e30] + [1e-11, 0, 1e31],
        np.array([[3e38, 1e-30, 1], [-3e38, 2e-30, 1]]),
    ],
    ids=["usual", "tiny and huge", "the ends of float32"],
)
def test_its_layers_do_the_same_in_any_precision(rows):
    rows = rows.astype(np.float32)
    preprocessing = Preprocessing.fit(examples_from(rows, np.zeros(len(rows))), "table")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input(rows.shape[1:], dtype="float32")
        model = keras.Model(inputs, preprocessing.in_keras(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(model(rows), preprocessing(rows))
    assert model.count_params() == 0


def test_its_layers_take_bytes():
    images = RANDOM.integers(0, 256, (10, 6, 5, 3), np.uint8)
    preprocessing = Preprocessing.fit(examples_from(images, np.zeros(10)), "image")
    inputs = keras.Input((6, 5, 3), dtype="uint8")
    model = keras.Model(inputs, preprocessing.in_keras(inputs))
    np.testing.assert_array_equal(model(images), preprocessing(images))
