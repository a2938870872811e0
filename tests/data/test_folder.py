from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from l2rw_tf.data import folder
from l2rw_tf.errors import UsageError


def paint(path, size=(6, 5), colour=(10, 20, 30), mode: str = "RGB") -> None:
    """Writes an image of one colour; the size is (width, height), as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


@pytest.fixture
def pets(tmp_path):
    for number in range(3):
        paint(tmp_path / "dog" / f"{number}.png", colour=(100 + number, 0, 0))
        paint(tmp_path / "cat" / "deeper" / f"{number}.bmp", colour=(0, 200 + number, 0))
    (tmp_path / "notes.txt").write_text("not a class")
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    (tmp_path / "dog" / ".hidden.png").write_text("nor this")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_a_folder_is_read_in_the_order_of_names(pets):
    source = folder.read(str(pets))
    assert (source.class_names, source.kind, source.test) == (("cat", "dog"), "image", None)
    assert source.train.x.dtype == np.uint8 and source.input_shape == (5, 6, 3)
    np.testing.assert_array_equal(source.train.y, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(source.train.x[:3, 0, 0, 1], [200, 201, 202])
    np.testing.assert_array_equal(source.train.x[3:, 4, 5, 0], [100, 101, 102])


def test_splits_lie_as_the_folder_builder_of_tfds_has_them(tmp_path):
    import tensorflow_datasets as tfds

    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        for number in numbers:
            paint(tmp_path / split / "ab"[number % 2] / f"{number}.png", colour=(number, 0, 0))
    source = folder.read(str(tmp_path))
    builder = tfds.ImageFolder(str(tmp_path))
    assert source.class_names == tuple(builder.info.features["label"].names)
    for name, part in (("train", source.train), ("test", source.test)):
        theirs = builder.as_dataset(split=name).as_numpy_iterator()
        theirs = {int(one["image"][0, 0, 0]): int(one["label"]) for one in theirs}
        ours = dict(zip(part.x[:, 0, 0, 0].tolist(), part.y.tolist(), strict=True))
        assert ours == theirs


def test_images_are_grey_only_where_all_are(tmp_path):
    paint(tmp_path / "a" / "1.png", mode="L")
    paint(tmp_path / "b" / "1.png", mode="1", colour=(255, 255, 255))
    source = folder.read(str(tmp_path))
    assert source.input_shape == (5, 6, 1)
    np.testing.assert_array_equal(source.train.x[:, 0, 0, 0], [18, 255])
    paint(tmp_path / "b" / "2.png", mode="P", colour=(255, 0, 0))
    source = folder.read(str(tmp_path))
    assert source.input_shape == (5, 6, 3)
    np.testing.assert_array_equal(source.train.x[-1, 0, 0], [255, 0, 0])


def test_images_of_several_sizes_are_scaled_where_a_size_is_given(pets):
    paint(pets / "dog" / "large.png", size=(60, 50), colour=(7, 8, 9))
    with pytest.raises(UsageError, match=r"0\.bmp and .*large\.png differ in size .*5x6 and 50x60"):
        folder.read(str(pets))
    source = folder.read(str(pets), image_size=8)
    assert source.train.x.shape == (7, 8, 8, 3)
    assert (source.train.x[-1] == [7, 8, 9]).all()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_broken_image_is_named(pets, content):
    broken = pets / "dog" / "1.png"
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:2000] if content is None else content)
    with pytest.raises(UsageError) as caught:
        folder.read(str(pets), image_size=8)
    message = str(caught.value)
    assert message.startswith(f"{broken} cannot be read as an image: ")
    assert "\n" not in message and message.endswith("repair or remove the file.")


def test_folders_that_hold_no_classes_are_named(tmp_path):
    with pytest.raises(UsageError, match="at least 2 classes, it has 0"):
        folder.read(str(tmp_path))
    paint(tmp_path / "only" / "1.png")
    with pytest.raises(UsageError, match="at least 2 classes, it has 1: only"):
        folder.read(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=f"{tmp_path / 'empty'} holds no images"):
        folder.read(str(tmp_path))
    with pytest.raises(UsageError, match="nowhere cannot be read: No such file"):
        folder.read(str(tmp_path / "nowhere"))


def test_a_class_that_only_the_test_part_has_is_named(tmp_path):
    for place in ("train/a", "train/b", "test/a", "test/c"):
        paint(tmp_path / place / "1.png")
    with pytest.raises(UsageError, match=r"test/c: there is no class 'c' .* only a, b"):
        folder.read(str(tmp_path))
