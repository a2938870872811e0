"""What the audit writes of a data set: a table of labels, and a folder without wrong ones."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2rw_tf import audit
from l2rw_tf.data import corrections
from l2rw_tf.runs import results, tables
from l2rw_tf.runs.run_directory import RunDirectory
from tests import made_up

# The quality is computed from these: below half they are suspected.
IMAGES = {
    "./train/=cat/a.png": (0, 1, 0.01),
    "./train/=cat/b.png": (0, 0, 0.99),
    "./train/=cat/deep/c.png": (0, 0, 0.98),
    "./train/dog/a.png": (1, 1, 0.97),
    "./train/dog/b.png": (1, 0, 0.02),
    "./train/dog/A-2.png": (1, 1, 0.96),
}
CLASSES = ["=cat", "dog"]


@pytest.fixture
def pets(tmp_path):
    folder = tmp_path / "pets"
    for number, origin in enumerate(IMAGES):
        (folder / origin).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(folder / origin)
    return folder


@pytest.fixture
def run_dir(tmp_path, pets):
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    given, suggested, probability = map(np.array, zip(*IMAGES.values(), strict=True))
    n = len(given)
    table = {
        "id": np.arange(n),
        "origin": np.array(list(IMAGES)),
        "given_label": given,
        "suggested_label": suggested,
        "given_probability": probability,
        "label_quality": probability,
        "content_hash": np.array([f"{one:016x}" for one in range(n)]),
    }
    tables.write_examples(directory, table)
    found = made_up.run_results(dataset=str(pets), noise_type="none", class_names=CLASSES)
    results.write(directory, found)
    return directory.path


def _decisions(path, *rows):
    path.write_text("\n".join(["origin,decision,label", *rows, ""]), encoding="utf-8")
    return f"--corrections={path}"


def _audit(run_dir, *flags):
    return audit.main([f"--run_dir={run_dir}", "--threshold=0.5", "--show=0", *flags])


def _content(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): np.asarray(Image.open(path))[0, 0] for path in files}


def test_labels_as_a_table_that_corrections_take(run_dir, tmp_path, capsys):
    file = tmp_path / "labels.csv"
    decided = _decisions(
        tmp_path / "c.csv", "./train/=cat/a.png,other,dog", "./train/dog/a.png,undecided,"
    )
    assert _audit(run_dir, decided, f"--write_labels={file}") == 0
    assert f"6 labels: {file}" in capsys.readouterr().out
    text = file.read_text("utf-8")
    assert not any(line.startswith(("=", "+", "-", "@")) for line in text.splitlines())
    first, *_ = rows = list(csv.DictReader(io.StringIO(text)))
    assert list(
        first
    ) == "origin,content_hash,given_label,label_quality,suggested_label,decision,label".split(",")
    qualities = [float(row["label_quality"]) for row in rows]
    assert qualities == sorted(qualities) and rows[0]["given_label"] == "'=cat"
    assert (first["origin"], first["decision"], first["label"]) == (
        "./train/=cat/a.png",
        "other",
        "dog",
    )
    # Rows that nobody filled in say nothing.
    read = corrections.read(str(file))
    assert [(row.origin, row.decision) for row in read] == [
        ("./train/=cat/a.png", "other"),
        ("./train/dog/a.png", "undecided"),
    ]
    assert read[0].given_label == "=cat"
    assert _audit(run_dir, f"--write_labels={file}") == 2
    assert "exists already" in capsys.readouterr().err and file.read_text("utf-8") == text


def test_a_folder_of_copies_with_right_labels(run_dir, pets, tmp_path, capsys):
    before = _content(pets)
    clean = tmp_path / "new" / "pets"
    # The second was decided on in a round before, and is in the training no more.
    earlier = "./train/dog/old.png,right,dog"
    (pets / "train" / "dog" / "old.png").write_bytes((pets / "train/dog/a.png").read_bytes())
    _decisions(run_dir / "corrections.csv", earlier)
    decided = _decisions(
        tmp_path / "c.csv", "./train/=cat/a.png,other,dog", earlier, "./train/dog/A-2.png,unusable,"
    )
    # The user knows this one; it was clean and not trained on.
    Image.fromarray(np.full((2, 2), 9, np.uint8)).save(pets / "train" / "=cat" / "sure.png")
    (run_dir / "trusted.txt").write_text("train/=cat/sure.png\n17\n", "utf-8")
    assert _audit(run_dir, decided, f"--write_folder={clean}") == 0
    printed = capsys.readouterr().out
    assert "6 images of" in printed and "1 of them under a corrected label" in printed
    assert "1 suspected label not reviewed yet, 1 unusable image;" in printed
    assert _content(clean) == {
        "=cat/b.png": 1,
        "=cat/deep/c.png": 2,
        "dog/a.png": 3,
        "dog/a-2.png": 0,
        "dog/old.png": 3,
        "=cat/sure.png": 9,
    }
    (pets / "train" / "=cat" / "sure.png").unlink()
    (pets / "train" / "dog" / "old.png").unlink()
    assert _content(pets) == before
    for folder, words in (
        (clean, "exists already"),
        (pets / "train" / "clean", "is inside"),
        (tmp_path / "other", "old.png"),
    ):
        is_target = words != "old.png"
        labels = f"--write_labels={tmp_path / words.replace(' ', '_')}.csv"
        assert _audit(run_dir, decided, labels, f"--write_folder={folder}") == (
            2 if is_target else 1
        )
        captured = capsys.readouterr()
        assert words in captured.err and captured.err.count("\n") == 1
        # Targets are looked at before anything is printed or written.
        assert not captured.out
        assert Path(labels.partition("=")[2]).exists() == (not is_target)
    assert _content(pets) == before and not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".unfinished*"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["./train/dog/z.png,right,"], "z.png"),
        (["./train/dog/a.png,other,cow"], "no class 'cow'"),
        (["./train/dog/a.png,perhaps,"], "perhaps"),
        (["./train/dog/a.png,right,", "./train/dog/a.png,unusable,"], "not in an earlier line"),
    ],
)
def test_decisions_that_do_not_fit_write_nothing(run_dir, tmp_path, capsys, rows, words):
    file, folder = tmp_path / "labels.csv", tmp_path / "clean"
    decided = _decisions(tmp_path / "c.csv", *rows)
    flags = [f"--write_labels={file}", f"--write_folder={folder}"]
    assert _audit(run_dir, decided, *flags) == 2
    captured = capsys.readouterr()
    assert words in captured.err and "nothing was written" in captured.err and not captured.out
    assert not file.exists() and not folder.exists()


def test_no_folder_of_what_is_none(run_dir, pets, tmp_path, capsys):
    found = results.read(run_dir)
    for changes, words in (
        ({"noise_type": "pair"}, "noise_type=pair"),
        ({"dataset": str(tmp_path / "gone")}, "is not here"),
    ):
        changed = made_up.run_results(**{"class_names": CLASSES, "noise_type": "none", **changes})
        results.write(RunDirectory(run_dir), changed)
        assert _audit(run_dir, f"--write_folder={tmp_path / 'new'}") == 2
        assert words in capsys.readouterr().err
    results.write(RunDirectory(run_dir), found)
    examples = run_dir / "examples.csv"
    examples.write_text(examples.read_text("utf-8").replace(".png", ".csv:4"), "utf-8")
    assert _audit(run_dir, f"--write_folder={tmp_path / 'new'}") == 2
    assert "use write_labels" in capsys.readouterr().err
    assert audit.main([f"--run_dir={run_dir}", "--corrections=c.csv"]) == 2
    assert "write_labels or write_folder" in capsys.readouterr().err
