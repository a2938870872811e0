"""Trusted examples: what names them, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest

from l2rw_tf.data import prepared_data, trusted
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError
from tests.data.test_folder import paint


def prepare(dataset, **settings):
    return prepared_data.prepare(DataSettings(dataset=str(dataset), **settings), seed=0)


@pytest.fixture
def pets(tmp_path):
    """Sixteen images of each of two classes."""
    for number in range(16):
        paint(tmp_path / "pets" / "train" / "cat" / f"{number}.png", colour=(number, 0, 0))
        paint(tmp_path / "pets" / "train" / "dog" / f"{number}.png", colour=(100 + number, 0, 0))
    return tmp_path / "pets"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{number},{number % 7},{'xy'[number % 2]}" for number in range(40)]
    path.write_text("\n".join(["a,b,label", *rows]))
    return path


def test_a_folder_beside_the_training_part_is_found_and_said(pets):
    assert not prepare(pets).clean_is_right
    paint(pets / "clean" / "dog" / "sure.png", colour=(7, 8, 9))
    data = prepare(pets)
    assert data.clean_is_right and "the 1 of" in data.source.notes[0]
    assert data.splits.clean.origins.tolist() == ["./clean/dog/sure.png"]
    assert data.splits.clean.y.tolist() == [1]
    assert data.splits.clean.x[0, 0, 0].tolist() == [7, 8, 9]
    with pytest.raises(UsageError, match="clean_in_train"):
        prepare(pets, clean_in_train=True)


def test_a_folder_elsewhere_goes_before_it(pets, tmp_path):
    paint(pets / "clean" / "dog" / "sure.png")
    for number in range(3):
        paint(tmp_path / "sure" / "dog" / f"{number}.png", colour=(9, 9, 9), mode="L")
        paint(tmp_path / "sure" / "cat" / f"{number}.png", colour=(9, 9, 9))
    data = prepare(pets, clean_data=str(tmp_path / "sure"))
    assert data.splits.clean.x.shape == (6, 5, 6, 3)
    assert [note for note in data.source.notes if "trusted" in note] == [
        f"trusted examples: the 6 of {tmp_path / 'sure'}"
    ]
    assert f"the 1 of {pets / 'clean'} are not used" in data.source.notes[-1]
    same = prepare(pets, clean_data=str(pets / "clean") + "/").source
    assert not any("not used" in note for note in same.notes)
    some = prepare(pets, clean_data=str(tmp_path / "sure"), clean_per_class=2).splits.clean
    assert np.bincount(some.y).tolist() == [2, 2]
    with pytest.raises(UsageError, match="the trusted data has only 3"):
        prepare(pets, clean_data=str(tmp_path / "sure"), clean_per_class=4)
    paint(tmp_path / "sure" / "cow" / "1.png")
    with pytest.raises(UsageError, match="sure/cow: there is no class 'cow'"):
        prepare(pets, clean_data=str(tmp_path / "sure"))
    (tmp_path / "sure" / "cow").rename(tmp_path / "sure" / ".cow")
    paint(tmp_path / "sure" / "dog" / "4.png", size=(9, 9))
    with pytest.raises(UsageError, match="differ in size"):
        prepare(pets, clean_data=str(tmp_path / "sure"))


@pytest.mark.parametrize("dot", ["./", "", "{}/"])
def test_a_list_of_training_examples_that_are_right(pets, tmp_path, dot):
    listed = tmp_path / "right.txt"
    dot = dot.format(pets)
    names = [f"{dot}train/{name}/{number}.png" for name in ("cat", "dog") for number in (3, 5)]
    listed.write_text("\n".join([*names, "", names[0], ""]), encoding="utf-8-sig")
    data = prepare(pets, clean_data=str(listed))
    origins = set(data.splits.clean.origins)
    assert origins == {f"./train/{name}/{n}.png" for name in ("cat", "dog") for n in (3, 5)}
    others = [data.splits.train, data.splits.validation, data.splits.test]
    assert sum(map(len, others)) == 28
    assert not any(origins & set(part.origins) for part in others)
    listed.write_text("train/cat/3.png\nnowhere.png\n")
    with pytest.raises(UsageError, match=r"'nowhere.png' \(line 2\); .* './train/cat/0.png'"):
        prepare(pets, clean_data=str(listed))
    listed.write_text("\n".join(map(str, range(32))))
    with pytest.raises(UsageError, match="lists all 32 training examples"):
        prepare(pets, clean_data=str(listed))
    listed.write_text("\n")
    with pytest.raises(UsageError, match="lists no training examples"):
        prepare(pets, clean_data=str(listed))


def test_ids_and_lines_can_be_listed_too(table, tmp_path):
    listed = tmp_path / "right.txt"
    listed.write_text("3\n./rows.csv:2\n")
    clean = prepare(table, clean_data=str(listed)).splits.clean
    assert clean.ids.tolist() == [0, 3] and clean.x[:, 0].tolist() == [0, 3]


def test_a_csv_file_like_the_training_data(table, tmp_path):
    sure = tmp_path / "sure.csv"
    sure.write_text("label,b,a\ny,5,6\ny,7,8\n")
    data = prepare(table, clean_data=str(sure))
    assert data.splits.clean.x.tolist() == [[6, 5], [8, 7]]
    assert data.splits.clean.y.tolist() == [1, 1]
    assert data.splits.clean.origins.tolist() == ["./sure.csv:2", "./sure.csv:3"]
    for text, message in [
        ("label,b,a\nz,5,6\n", "sure.csv: the column 'label': there is no class 'z'"),
        ("label,a\nx,5\n", "sure.csv lacks columns .'b'.; trusted"),
        ("label,c,a\nx,5,6\n", "sure.csv lacks columns .'b'. and has other columns .'c'.; "),
        ("./rows.csv:2\n./rows.csv:3\n", "sure.csv has one column, .* list .* must end in .txt"),
        ("label,b,a\nnan,5,6\n", "sure.csv, line 2: the label .* is missing"),
    ]:
        sure.write_text(text)
        with pytest.raises(UsageError, match=message):
            prepare(table, clean_data=str(sure))


def test_a_npz_file_like_the_training_data(table, tmp_path):
    np.savez(tmp_path / "sure.npz", x=np.ones((2, 2)), y=np.array(["x", "y"]))
    clean = prepare(table, clean_data=str(tmp_path / "sure.npz")).splits.clean
    assert clean.y.tolist() == [0, 1]
    np.savez(tmp_path / "sure.npz", x=np.ones((2, 3)), y=np.array(["x", "y"]))
    with pytest.raises(UsageError, match="sure.npz: one input is"):
        prepare(table, clean_data=str(tmp_path / "sure.npz"))


def test_a_split_of_a_tfds_data_set(tmp_path):
    data = prepare("digits", clean_data="digits:test", data_dir=str(tmp_path))
    np.testing.assert_array_equal(data.splits.clean.x, data.source.test.x)
    with pytest.raises(UsageError, match="no split 'rest', only"):
        prepare("digits", clean_data="digits:rest", data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv", "nowhere/"])
def test_trusted_examples_that_are_not_there(table, tmp_path, name):
    with pytest.raises(UsageError, match="nowhere.* cannot be read: No such file"):
        prepare(table, clean_data=str(tmp_path / name))


def test_kinds_that_do_not_fit(pets, table):
    with pytest.raises(UsageError, match="is a folder of images, but .* a table"):
        prepare(table, clean_data=str(pets / "train"))
    with pytest.raises(UsageError, match="it is a table, but .* image data"):
        prepare(pets, clean_data=str(table))


def test_classes_are_chosen_among_trusted_examples_too(table, tmp_path):
    rows = [f"{number},{number},{number % 3}" for number in range(30)]
    table.write_text("\n".join(["a,b,label", *rows]))
    (tmp_path / "sure.csv").write_text("a,b,label\n1,1,0\n2,2,1\n3,3,2.0\n")
    data = prepare(table, clean_data=str(tmp_path / "sure.csv"), classes=("2", "1"))
    assert data.source.class_names == ("2", "1")
    assert data.splits.clean.y.tolist() == [1, 0] and data.splits.clean.x[:, 0].tolist() == [2, 3]


def test_true_labels_are_those_of_clean_and_test_data(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{number},{number % 2},{number % 4 // 2}" for number in range(40)]
    path.write_text("\n".join(["a,truth,label", *rows]))
    data = prepare(path, true_label_column="truth", clean_per_class=3)
    assert data.clean_is_right and data.source.feature_names == ("a",)
    for part in (data.splits.clean, data.splits.test):
        np.testing.assert_array_equal(part.y, part.x[:, 0] % 2)
    assert np.bincount(data.splits.clean.y).tolist() == [3, 3]
    for part in (data.splits.train, data.splits.validation):
        np.testing.assert_array_equal(part.y, part.x[:, 0] % 4 // 2)
        np.testing.assert_array_equal(part.true_y, part.x[:, 0] % 2)
    assert data.wrong_in_source == 0.5


def _corrected(tmp_path, rows):
    path = tmp_path / "corrections.csv"
    lines = [f"./train/{image},{decision},{label}" for image, decision, label in rows]
    path.write_text("\n".join(["origin,decision,label", *lines, ""]), encoding="utf-8")
    return str(path)


def test_corrections_may_confirm_what_is_listed_and_no_more(pets, tmp_path):
    listed = tmp_path / "right.txt"
    names = [f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(8)]
    listed.write_text("\n".join(names), encoding="utf-8")
    flags = {"clean_data": str(listed), "trusted_test_fraction": 0.5}
    before = prepare(pets, **flags).splits
    held = before.trusted_test.origins.tolist()
    assert len(held) == 8 and not set(held) & set(before.clean.origins)
    rows = [(held[0].removeprefix("./train/"), "right", ""), ("cat/9.png", "other", "dog")]
    after = prepare(pets, **flags, corrections=_corrected(tmp_path, rows)).splits
    # What was looked at measures nothing.
    assert after.trusted_test.origins.tolist() == held[1:]
    assert {held[0], "./train/cat/9.png"} <= set(after.clean.origins)
    assert len(set(after.clean.origins)) == len(after.clean) == 10
    assert after.clean.y[after.clean.origins == "./train/cat/9.png"] == 1
    rows = [
        ("cat/1.png", "other", "dog"),
        ("cat/9.png", "perhaps", ""),
        ("dog/2.png", "unusable", ""),
    ]
    with pytest.raises(UsageError) as refused:
        prepare(pets, **flags, corrections=_corrected(tmp_path, rows))
    lines = str(refused.value).splitlines()
    assert "3 of 3 rows" in lines[0] and len(lines) == 4
    assert "clean_data lists it as right" in lines[1] and "clean_data lists it" in lines[3]


def test_files_are_copied_into_a_run_and_nothing_else(tmp_path):
    for name, copy in (
        ("right.txt", "trusted.txt"),
        ("right", "trusted.txt"),
        ("cifar10:test", "trusted.txt"),
        ("rows.CSV", "trusted.csv"),
        ("a.npz", "trusted.npz"),
    ):
        assert trusted.own_copy(str(tmp_path / name)) is None
        (tmp_path / name).touch()
        assert trusted.own_copy(str(tmp_path / name)) == copy
    for name in ("", "cifar10:test", str(tmp_path)):
        assert trusted.own_copy(name) is None
