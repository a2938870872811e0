from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np
import pytest
from PIL import Image

from l2rw_tf.data import sources
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.errors import UsageError
from tests.data.conftest import labelled


@pytest.fixture
def files(tmp_path):
    (tmp_path / "rows.csv").write_text("a,kind\n1,x\n2,y\n3,x\n4,y\n")
    np.savez(tmp_path / "rows.npz", x=np.eye(4), y=[0, 1, 0, 1])
    for name in "ab":
        (tmp_path / "digits" / name).mkdir(parents=True)
        Image.new("L", (9, 9)).save(tmp_path / "digits" / name / "1.png")
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path


def test_the_kind_of_data_set_follows_from_its_name(files, monkeypatch):
    monkeypatch.chdir(files)
    source = sources.load("rows.csv", label_column="kind")
    assert (source.kind, source.class_names, source.name) == ("table", ("x", "y"), "rows.csv")
    assert sources.load(str(files / "rows.npz")).input_shape == (4,)
    assert sources.load("./digits").input_shape == (9, 9, 1)
    assert sources.load("./digits", image_size=4).input_shape == (4, 4, 1)
    assert sources.load("digits", data_dir=str(files)).input_shape == (8, 8, 1)
    monkeypatch.setenv("HOME", str(files))
    assert sources.load("~/rows.csv", label_column="kind").num_classes == 2


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("notes.txt", "'notes.txt' is a file, but neither a .csv nor a .npz file"),
        ("./nowhere", "'./nowhere': there is no such folder or file"),
        ("/nowhere", "there is no such folder or file"),
        ("~/nowhere", "there is no such folder or file"),
        ("nowhere.csv", "nowhere.csv cannot be read: No such file"),
        ("nowhere.NPZ", "nowhere.NPZ cannot be read: No such file"),
        ("nowhere at all", "'nowhere at all' is not known: possible are digits"),
        ("", "dataset '' is not known"),
        ("~nobody/there", "there is no such folder or file"),
        ("nul\0byte", "is not known"),
        ("x" * 5000, "is not known"),
    ],
)
def test_what_cannot_be_found_is_one_clear_line(files, monkeypatch, dataset, message):
    monkeypatch.chdir(files)
    with pytest.raises(UsageError, match=message) as caught:
        sources.load(dataset, data_dir=str(files))
    assert "\n" not in str(caught.value)


@pytest.fixture
def source() -> Source:
    train, test = labelled([3, 0, 1, 2, 3, 1]), labelled([1, 2, 3])
    return Source("made", train, test, ("zero", "one", "two", "three"), "table")


@pytest.mark.parametrize("classes", [["three", "one"], [3, 1], ["3", "1"]])
def test_chosen_classes_are_numbered_in_the_order_given(source, classes):
    chosen = sources.select_classes(source, classes)
    assert chosen.class_names == ("three", "one")
    assert chosen.train.ids.tolist() == [0, 2, 4, 5]
    assert chosen.train.y.tolist() == [0, 1, 0, 1]
    assert chosen.train.x[:, 0].tolist() == [0, 2, 4, 5]
    assert chosen.test.y.tolist() == [1, 0] and chosen.test.ids.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["one", "four"],
            "made has no class 'four'; its classes are 0 to 3: zero, one, two, three",
        ),
        ([1, 4], "has no class 4"),
        ([-1, 1], "has no class -1"),
        (["one"], "at least 2 different classes, got one"),
        (["one", 1], "at least 2 different classes, got one, 1"),
        ([], "at least 2 different classes, got none"),
    ],
)
def test_classes_that_cannot_be_chosen(source, classes, message):
    with pytest.raises(UsageError, match=message):
        sources.select_classes(source, classes)


def test_arrays_of_different_lengths_are_no_examples():
    with pytest.raises(ValueError, match="x has 3 entries, but there are 2 y"):
        Examples(np.zeros(3), np.zeros(2), None, np.zeros(2))


def test_a_new_reader_is_a_file_and_a_line(source, monkeypatch):
    file = types.ModuleType("l2rw_tf.data.toy")
    file.can_read = lambda dataset: dataset.endswith(".toy")
    file.read = lambda dataset, label_column, **others: dataclasses.replace(
        source, name=dataset + label_column
    )
    monkeypatch.setitem(sys.modules, file.__name__, file)
    monkeypatch.setattr(sources, "READERS", ("toy", *sources.READERS))
    assert sources.load("a.toy", label_column="b").name == "a.toyb"
    assert sources.load("digits").name == "digits"
