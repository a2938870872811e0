from __future__ import annotations

import csv
import json

import pytest

from l2rw_tf.errors import UsageError
from l2rw_tf.runs.run_directory import RunDirectory, check_vacant


@pytest.fixture
def directory(tmp_path):
    return RunDirectory.create(str(tmp_path / "run"), "unused")


def test_names_are_numbered_where_they_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [RunDirectory.create("", "digits-seed0").path for _ in range(3)]
    assert [str(path) for path in paths] == [
        "runs/digits-seed0",
        "runs/digits-seed0-2",
        "runs/digits-seed0-3",
    ]
    assert all(path.is_dir() for path in paths)


def test_a_new_and_an_empty_directory_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/below"):
        assert RunDirectory.create(str(tmp_path / name), "unused").path == tmp_path / name


@pytest.mark.parametrize(
    ("file", "holds"),
    [("config.cfg", "a run already"), ("thesis.tex", "files already, but no run")],
)
def test_what_is_in_a_directory_is_left_alone(tmp_path, file, holds):
    (tmp_path / file).write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match=f"run_dir={tmp_path} holds {holds}:") as caught:
        RunDirectory.create(str(tmp_path), "unused")
    assert "remove" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_a_file_is_no_directory(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="is a file"):
        check_vacant(str(file))
    with pytest.raises(UsageError, match=f"{file}/below .*Not a directory"):
        RunDirectory.create(str(file / "below"), "unused")


def test_a_failed_write_leaves_what_was_there(directory):
    directory.write_text("notes.txt", "whole")
    with pytest.raises(UnicodeEncodeError):
        directory.write_text("notes.txt", "half\udc80")
    with pytest.raises(UnicodeEncodeError):
        directory.write_text("new.txt", "half\udc80")
    assert (directory.path / "notes.txt").read_text(encoding="utf-8") == "whole"
    assert [file.name for file in directory.path.iterdir()] == ["notes.txt"]


def test_tables_keep_every_digit(directory):
    rows = [[None, "x, y", 0.1 + 0.2], [1e-300, 'say "z"', None]]
    directory.write_table("table.csv", ["c", "b", "a"], rows)
    with (directory.path / "table.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["c", "b", "a"]
    assert float(first["a"]) == 0.1 + 0.2 and float(second["c"]) == 1e-300
    assert (first["b"], second["b"], first["c"], second["a"]) == ("x, y", 'say "z"', "", "")


def test_lists_of_numbers_stand_on_one_line(directory):
    content = {"matrix": [[1, 2], [3, -4.5e-7]], "names": ["[ 1,  2 ]", "3"], "none": []}
    directory.write_json("content.json", content)
    text = (directory.path / "content.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    lines = [line.strip() for line in text.splitlines()]
    assert "[1, 2]," in lines and "[3, -4.5e-07]" in lines


def test_numbers_that_are_not_finite_are_null(directory):
    content = {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": "é", "e": None}}
    directory.write_json("results.json", content)
    written = (directory.path / "results.json").read_text(encoding="utf-8")
    assert json.loads(written) == {
        "a": None,
        "b": [1.5, None],
        "c": {"d": "é", "e": None},
    }
