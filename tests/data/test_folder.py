from __future__ import annotations

import os

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
    assert source.notes == ("images in colour 1 (./b/2.png), grey 2: all are read in colour",)


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
    assert "\n" not in message and message.endswith("--bad_files=skip.")


def test_folders_that_hold_no_classes_are_named(tmp_path):
    with pytest.raises(UsageError, match="at least 2, but it has 0"):
        folder.read(str(tmp_path))
    paint(tmp_path / "only" / "1.png")
    with pytest.raises(UsageError, match="at least 2, but it has 1: only"):
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


def test_origins_are_paths_below_the_folder(pets):
    origins = folder.read(str(pets)).train.origins
    assert origins[[0, -1]].tolist() == ["./cat/deeper/0.bmp", "./dog/2.png"]


def test_hidden_folders_and_those_of_programs_are_passed_over(pets):
    for place in (".ipynb_checkpoints", "dog/.ipynb_checkpoints", "__MACOSX/dog", "cat/@eaDir"):
        paint(pets / place / "0-checkpoint.png")
    assert np.bincount(folder.read(str(pets)).train.y).tolist() == [3, 3]


@pytest.mark.parametrize("name", ["train", "Test", "clean", "val"])
def test_a_class_may_be_called_like_a_split(pets, name):
    paint(pets / name / "1.png")
    assert set(folder.read(str(pets)).class_names) == {"cat", "dog", name}


def test_a_folder_that_could_be_a_class_or_a_split_is_not_guessed(pets):
    paint(pets / "train" / "steam" / "1.png")
    with pytest.raises(UsageError, match="train could be a split .* steam, or a class beside cat"):
        folder.read(str(pets))
    (pets / "train").rename(pets / "clean")
    assert folder.read(str(pets)).class_names == ("cat", "clean", "dog")
    paint(pets / "clean" / "dog" / "1.png")
    with pytest.raises(UsageError, match="clean could be a split .* dog, or a class beside cat"):
        folder.read(str(pets))


def test_a_training_part_of_another_name_is_no_class(tmp_path):
    for place in ("learn/a", "learn/b", "test/a", "test/b"):
        paint(tmp_path / place / "1.png")
    with pytest.raises(UsageError, match="could be a split .* a, b, or a class beside learn"):
        folder.read(str(tmp_path))


def test_splits_by_their_usual_names_in_any_case(tmp_path):
    for split in ("Training", "VALID", "Clean"):
        for name in "ab":
            paint(tmp_path / split / name / "1.png")
    source = folder.read(str(tmp_path))
    assert (source.class_names, len(source.train), len(source.test)) == (("a", "b"), 2, 2)
    assert source.trusted.origins.tolist() == ["./Clean/a/1.png", "./Clean/b/1.png"]
    assert source.notes == (
        f"test data: {tmp_path / 'VALID'}",
        f"trusted examples: the 2 of {tmp_path / 'Clean'}",
    )
    paint(tmp_path / "testing" / "b" / "1.png")
    (tmp_path / "docs").mkdir()
    assert folder.read(str(tmp_path)).notes[:3] == (
        f"test data: {tmp_path / 'testing'}",
        f"{tmp_path / 'VALID'} is not used",
        f"{tmp_path / 'docs'} is not used",
    )
    paint(tmp_path / "test" / "1.png")
    with pytest.raises(UsageError, match="test contains images directly"):
        folder.read(str(tmp_path))


def test_files_that_are_no_images_by_their_names_are_counted(pets):
    source = folder.read(str(pets))
    assert source.notes == (f"2 files of {pets} ignored: hidden 1, .txt 1 (left_out.csv)",)
    assert [name for name, _ in source.left_out] == ["./dog/.hidden.png", "./dog/notes.txt"]
    for name in ("1.HEIC", "2.heic", "3"):
        (pets / "dog" / name).touch()
    paint(pets / "dog" / "3.jpg")
    (pets / "dog" / "3.jpg").rename(pets / "dog" / "3.jfif")
    source = folder.read(str(pets))
    assert "./dog/3.jfif" in source.train.origins
    assert "5 files" in source.notes[0] and ".heic 2" in source.notes[0]
    assert "no extension 1" in source.notes[0]
    (pets / "cow").mkdir()
    (pets / "cow" / "1.heic").touch()
    with pytest.raises(UsageError, match=r"cow holds no images .* not images: \.heic 1; remove"):
        folder.read(str(pets))


@pytest.mark.parametrize("place", ["train", "clean", "test", ""])
def test_images_outside_of_the_classes_are_named(tmp_path, place):
    for split in ("train", "clean", "test") if place else ("",):
        for name in "ab":
            paint(tmp_path / split / name / "1.png")
    paint(tmp_path / place / "stray.png")
    with pytest.raises(UsageError, match=f"{place} contains images directly"):
        folder.read(str(tmp_path))


def test_all_bad_files_are_listed_together_or_left_out(pets, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "1.png"
    paint(elsewhere)
    (pets / "dog" / "link.png").symlink_to(elsewhere)
    (pets / "dog" / "gone.png").symlink_to(pets / "nowhere.png")
    (pets / "dog" / "1.png").write_bytes(b"")
    (pets / "cat" / "x.jpg").write_text("no image")
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    Image.fromarray(noise).save(pets / "cat" / "cut.png")
    short = (pets / "cat" / "cut.png").read_bytes()[:2000]
    (pets / "cat" / "cut.png").write_bytes(short)
    Image.fromarray(np.ones((5, 6), np.float32)).save(pets / "cat" / "float.tif")
    with pytest.raises(UsageError, match="6 files of .* --bad_files=skip") as caught:
        folder.read(str(pets), image_size=8)
    names = ("dog/link.png", "dog/gone.png", "dog/1.png", "cat/x.jpg", "cat/cut.png")
    assert all(f"{pets}/{name}: " in str(caught.value) for name in (*names, "cat/float.tif"))
    source = folder.read(str(pets), image_size=8, bad_files="skip")
    assert np.bincount(source.train.y).tolist() == [3, 2]
    assert source.train.ids.tolist() == list(range(5))
    assert source.train.origins[3:].tolist() == ["./dog/0.png", "./dog/2.png"]
    assert source.train.x[3:, 0, 0, 0].tolist() == [100, 102]
    assert {name for name, _ in source.left_out} == {
        f"./{name}" for name in (*names, "cat/float.tif", "dog/notes.txt", "dog/.hidden.png")
    }
    assert dict(source.left_out)["./dog/1.png"] == "the file is empty"
    assert "6 files of" in source.notes[0] and "and 3 more (left_out.csv)" in source.notes[0]
    for number in (0, 2):
        (pets / "dog" / f"{number}.png").write_bytes(b"")
    with pytest.raises(UsageError, match="dog holds no image that can be read"):
        folder.read(str(pets), image_size=8, bad_files="skip")


def test_names_that_are_not_utf_8_are_refused(pets):
    name = os.fsencode(pets) + b"/caf\xe9"
    os.mkdir(name)
    with pytest.raises(UsageError, match=r"caf\\xe9: its name is not text in UTF-8"):
        folder.read(str(pets))
    os.rmdir(name)
    os.rename(os.fsencode(pets / "dog" / "1.png"), os.fsencode(pets / "dog") + b"/caf\xe9.png")
    with pytest.raises(UsageError, match=r"caf\\xe9\.png cannot be read .* UTF-8"):
        folder.read(str(pets))


def test_names_with_control_characters_are_refused_in_one_line(pets):
    paint(pets / "dog" / "two\nlines.png")
    with pytest.raises(UsageError, match=r"dog/two\\nlines\.png .* control characters") as caught:
        folder.read(str(pets))
    assert "\n" not in str(caught.value)
    (pets / "cow\x07").mkdir()
    with pytest.raises(UsageError, match=r"cow\\x07: its name holds control characters"):
        folder.read(str(pets))


def test_copies_beside_their_file_are_passed_over(pets):
    content = (pets / "dog" / "0.png").read_bytes()
    for name in ("0 copy.png", "0 copy 2.png", "0 (1).png", "0-Kopie.png"):
        (pets / "dog" / name).write_bytes(content)
    # Another picture, another folder and another name are no copies.
    (pets / "dog" / "1 (1).png").write_bytes(content)
    (pets / "dog" / "00.png").write_bytes(content)
    (pets / "cat" / "0 copy.png").write_bytes(content)
    source = folder.read(str(pets))
    names = [origin for origin in source.train.origins if not origin.startswith("./cat/deeper")]
    assert names == [
        *("./cat/0 copy.png", "./dog/0.png", "./dog/00.png", "./dog/1 (1).png"),
        *("./dog/1.png", "./dog/2.png"),
    ]
    assert source.notes[:1] == (
        "./dog/0 (1).png, ./dog/0 copy 2.png, ./dog/0 copy.png and 1 more: copies of files in the "
        "same folder, ignored",
    )


def test_links_to_folders_are_refused(pets, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    paint(elsewhere / "cow" / "1.png")
    (pets / "cow").symlink_to(elsewhere / "cow")
    with pytest.raises(UsageError, match="cow is a link that leads outside"):
        folder.read(str(pets))
    (pets / "cow").rename(pets / "dog" / "cow")
    with pytest.raises(UsageError, match="dog/cow is a link to a folder"):
        folder.read(str(pets))


def test_images_are_upright_as_exif_says(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "1.jpg", exif=exif, quality=100)
        Image.fromarray(pixels).save(tmp_path / name / "2.png", exif=exif)
    x = folder.read(str(tmp_path)).train.x
    assert x.shape == (4, 6, 4, 3)
    assert (x[:, :3] > 250).all() and (x[:, 3:] < 5).all()


def test_images_of_16_bits_are_scaled(tmp_path):
    for name, value in (("a", 0x1234), ("b", 0xFFFF)):
        (tmp_path / name).mkdir()
        for suffix in ("png", "tif"):
            Image.fromarray(np.full((5, 6), value, np.uint16)).save(tmp_path / name / f"1.{suffix}")
    x = folder.read(str(tmp_path)).train.x
    assert x[:, 0, 0, 0].tolist() == [0x12, 0x12, 0xFF, 0xFF]


def test_an_image_that_would_fill_the_memory_is_bad(pets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    paint(pets / "dog" / "bomb.png", size=(100, 100))
    with pytest.raises(UsageError, match=r"bomb\.png cannot be read .* bomb"):
        folder.read(str(pets), image_size=4)
