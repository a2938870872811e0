from __future__ import annotations

import os

import numpy as np
import pytest

from l2rw_tf.data import pipeline, splits, storage
from l2rw_tf.data.corruption import corrupt
from l2rw_tf.data.examples import Source, examples_from
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 5, 3), np.uint8)


def keep(directory):
    batches = (IMAGES[first : first + 16] for first in range(0, 60, 16))
    return storage.keep(batches, IMAGES.shape, directory)


@pytest.fixture
def stored(tmp_path, monkeypatch) -> storage.StoredImages:
    monkeypatch.setattr(storage, "memory_size", lambda: 1000)
    return keep(tmp_path)


def test_what_fits_is_an_array_in_memory(tmp_path):
    images = keep(tmp_path)
    assert type(images) is np.ndarray
    np.testing.assert_array_equal(images, IMAGES)
    assert storage.memory_size() > 2**28


def test_what_does_not_fit_is_read_from_a_file_that_has_no_name(stored, tmp_path):
    assert isinstance(stored, storage.StoredImages)
    assert os.listdir(tmp_path) == []
    assert (stored.shape, stored.ndim, stored.dtype) == (IMAGES.shape, 4, np.uint8)
    np.testing.assert_array_equal(np.asarray(stored), IMAGES)
    some = stored.take(np.array([3, 50, 3]))
    assert len(some) == 3
    np.testing.assert_array_equal(some[np.array([2, 1])], IMAGES[[3, 50]])
    np.testing.assert_array_equal(some[1], IMAGES[50])
    np.testing.assert_array_equal(some[:2], IMAGES[[3, 50]])


def test_a_directory_that_cannot_be_written_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "memory_size", lambda: 1000)
    monkeypatch.setattr(storage, "can_write", lambda directory: directory != tmp_path)
    np.testing.assert_array_equal(np.asarray(keep(tmp_path)), IMAGES)


def test_a_full_disk_is_one_clear_line(monkeypatch, tmp_path):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "memory_size", lambda: 1000)
    monkeypatch.setattr(storage, "can_write", lambda _: True)
    monkeypatch.setattr(storage.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(UsageError, match="cannot be kept in .*: No space left on device"):
        keep(tmp_path)


def test_can_write_looks_at_the_nearest_directory_there_is(tmp_path):
    assert storage.can_write(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    assert not storage.can_write(tmp_path / "file" / "below")


def test_a_run_sees_the_same_batches_from_a_file_as_from_memory(stored):
    seen = []
    for x in (IMAGES, stored):
        source = Source("made", examples_from(x, np.arange(60) % 2), None, ("a", "b"), "image")
        settings = DataSettings(num_clean=4, test_fraction=0.2, noise_type="pair", noise_ratio=0.5)
        parts = splits.split(source, settings, seed=0)
        assert type(parts.clean.x) is np.ndarray
        train = corrupt(parts.train, settings, num_classes=2, seed=0)
        preprocessing = Preprocessing.fit(train, "image")
        batches = pipeline.training_batches(
            train, preprocessing, batch_size=7, seed=0, augment="crop_flip", with_rows=True
        ).take(12)
        tested = pipeline.evaluation_batches(parts.test, preprocessing, batch_size=5)
        seen.append([*batches.as_numpy_iterator(), *tested.as_numpy_iterator()])
    for in_memory, from_file in zip(*seen, strict=True):
        for one, other in zip(in_memory, from_file, strict=True):
            np.testing.assert_array_equal(one, other)
