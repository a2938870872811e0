"""The audit program on run directories, whole and damaged."""

from __future__ import annotations

import dataclasses

import pytest

from l2rw_tf import __main__, audit
from l2rw_tf.runs import results
from l2rw_tf.runs.run_directory import RunDirectory
from tests import made_up

HEADER = (
    "id,given_label,true_label,mean_loss,mean_u,suggested_label,given_probability,label_quality"
)
ROWS = ["7,0,1,3,-1,1,0.1,9", "3,1,1,,,1,0.9,9", "5,1,0,2,-2,0,0.2,9", "4,0,0,0.5,1.5,0,0.8,9"]


@pytest.fixture
def run_dir(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    results.write(RunDirectory(directory), made_up.run_results())
    write_examples(directory, HEADER, *ROWS)
    return directory


def write_examples(directory, *lines):
    (directory / "examples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_an_audit_in_words(run_dir, tmp_path, capsys):
    """Quality is computed, not read; ids to keep are written."""
    keep = tmp_path / "keep.txt"
    arguments = ["audit", f"--run_dir={run_dir}", f"--write_clean={keep}"]
    assert __main__.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "suspected: 2 labels (50.0%), those with a quality below 0.2" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["cat", "2", "1"] in lines and ["dog", "2", "1"] in lines
    worst = [line[0] for line in lines if line and line[0] in "3457" and len(line) == 4]
    assert worst == ["7", "5", "4", "3"]
    assert "2 labels (50.0%) are wrong" in printed and "AUROC 1.0000" in printed
    assert keep.read_text(encoding="utf-8").split() == ["3", "4"]
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    for target in (f"--write_clean={keep}", f"--write_labels={tmp_path / 'no' / 'l.csv'}"):
        assert audit.main([arguments[1], f"--write_clean={tmp_path / 'other.txt'}", target]) == 2
        said = capsys.readouterr()
        assert not said.out and said.err.count("\n") == 1
        assert "exists already" in said.err or "there is no folder" in said.err
    assert not (tmp_path / "other.txt").exists()
    assert before == {path.name: path.read_bytes() for path in run_dir.iterdir()}


def test_a_ranking_by_the_better_plain_network(run_dir, capsys):
    """By the probability of the label alone; the record is that of the other training."""
    ranked = dataclasses.replace(made_up.run_results(), ranked_by="plain")
    results.write(RunDirectory(run_dir), ranked)
    assert audit.main([f"--run_dir={run_dir}"]) == 0
    printed = capsys.readouterr().out
    assert "the plainly trained network (plain.keras)" in printed
    lines = [line.split() for line in printed.splitlines()]
    found = [(line[0], line[-1]) for line in lines if line and line[0] in "3457" and len(line) == 4]
    assert found == [("7", "0.1000"), ("5", "0.2000"), ("4", "0.8000"), ("3", "0.9000")]


def test_expected_noise_cuts_the_ranking(run_dir, capsys):
    assert audit.main([f"--run_dir={run_dir}", "--expected_noise=0.25", "--show=0"]) == 0
    printed = capsys.readouterr().out
    assert "suspected: 1 label (25.0%), those with the lowest quality" in printed
    assert "suggested" not in printed


def _without(name):
    return lambda run_dir: (run_dir / name).unlink()


def _interrupted(run_dir):
    RunDirectory(run_dir).write_flags(["--epochs=1"])
    (run_dir / "results.json").unlink()


def _examples(*lines):
    return lambda run_dir: write_examples(run_dir, *lines)


def _results(text):
    return lambda run_dir: (run_dir / "results.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("results.json"), "holds no finished run"),
        (
            _interrupted,
            "unfinished run; if it was interrupted, resume it: python -m l2rw_tf.main --r",
        ),
        (_without("examples.csv"), "examples.csv cannot be used"),
        (_results('{"class_names": ["cat"'), "results.json cannot be used"),
        (_results('{"method": "l2rw"}'), "results.json cannot be used"),
        (_results('{"last_epoch": 5}'), "results.json cannot be used"),
        (_results("[]"), "results.json cannot be used"),
        (_examples(), "examples.csv cannot be used"),
        (_examples(HEADER, ROWS[0], "3,1,1"), "line 3 has 3 of 8 cells"),
        (
            _examples(HEADER, ROWS[0].replace("0.1", "much")),
            "line 2 has 'much'",
        ),
        (_examples(HEADER, ROWS[0].replace("7,", "x,")), "line 2 has 'x' in column id"),
        (_examples(HEADER.replace("suggested", "other"), *ROWS), "has no column suggested_label"),
        (_examples(HEADER, ROWS[0].replace("7,0", "7,5")), "labels outside of the 2 classes"),
        (lambda run_dir: (run_dir / "examples.csv").write_bytes(b"\xff\xfe\x00"), "cannot be used"),
    ],
)
def test_a_damaged_run_directory_is_one_line(damage, message, run_dir, capsys):
    damage(run_dir)
    assert audit.main([f"--run_dir={run_dir}"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "run_dir is empty"),
        (["--run_dir=nowhere"], "run_dir=nowhere"),
        (["--run_dir=.", "--threshold=2"], "threshold"),
        (["--run_dir=.", "--threshold=0.1", "--expected_noise=0.1"], "expected_noise=0.1"),
    ],
)
def test_mistakes_in_flags_are_one_line(flags, message, capsys):
    assert audit.main(flags) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("origins", "shown", "kept"),
    [
        (
            ["./a/7.png", "./a/3\\n.png", "./a/=5.png", "./b/4.png"],
            ["./a/7.png", "./a/=5.png", "./b/4.png", "./a/3\\n.png"],
            ["./a/3\\n.png", "./b/4.png"],
        ),
        (
            ["./t.csv:9", "./t.csv:5", "./t.csv:7", "./t.csv:6"],
            ["./t.csv:9", "./t.csv:7", "./t.csv:6", "./t.csv:5"],
            ["3", "4"],
        ),
        (["index 7", "index 3", "index 5", "index 4"], ["7", "5", "4", "3"], ["3", "4"]),
    ],
)
def test_where_examples_come_from(run_dir, tmp_path, capsys, origins, shown, kept):
    rows = [f"{row},{origin}" for row, origin in zip(ROWS, origins, strict=True)]
    write_examples(run_dir, f"{HEADER},origin", *rows)
    keep = tmp_path / "keep.txt"
    assert audit.main([f"--run_dir={run_dir}", f"--write_clean={keep}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    head = next(row for row, line in enumerate(lines) if "suggested" in line)
    assert [line[0] for line in lines[head + 1 : head + 5]] == shown
    assert keep.read_text(encoding="utf-8").splitlines() == kept
