"""Predictions of raw files with a finished run."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from l2rw_tf import main, predict
from l2rw_tf.data import prepared_data
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.runs import config, results
from tests.made_up import folder_of_images, table_file

pytestmark = pytest.mark.slow

FLAGS = (
    "--epochs=2",
    "--clean_per_class=2",
    "--labels_are_right",
    "--batch_size=50",
    # Deterministic operations are switched on for the whole process, which other tests share.
    "--deterministic=false",
    "--notensorboard",
    "--progress=none",
)


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("table")
    file = table_file(place / "table.csv")
    flags = [f"--dataset={file}", "--with_plain", f"--run_dir={place / 'run'}"]
    assert main.main([*flags, *FLAGS]) == 0
    return place


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    folder = folder_of_images(place / "images", ("=bright", "dark"))
    flags = [f"--dataset={folder}", "--network=mlp", f"--run_dir={place / 'run'}"]
    assert main.main([*flags, *FLAGS]) == 0
    return place


def classify(place, *inputs, more=()):
    output = place / f"{len(list(place.iterdir()))}.csv"
    flags = [f"--run_dir={place / 'run'}", f"--output={output}"]
    assert predict.main([flags[0], *map(str, inputs), flags[1], *more]) == 0
    with output.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_data_of(place):
    settings = config.from_arguments([f"--flagfile={place / 'run' / 'config.cfg'}"])
    data = prepared_data.prepare(settings.part(DataSettings), settings.seed)
    return data.splits.test, np.array(data.source.class_names)


test_data_of.__test__ = False


@pytest.mark.parametrize("more", [[], ["--plain_network"]], ids=["own", "plain"])
def test_rows_of_a_table_are_classified_as_the_results_say(table_run, more, capsys):
    rows = classify(table_run, table_run / "table.csv", more=more)
    assert [row["origin"] for row in rows] == [
        f"{table_run / 'table.csv'}:{line}" for line in range(2, 152)
    ]
    test, names = test_data_of(table_run)
    found = np.array([row["class"] for row in rows])[test.ids]
    run = results.read(table_run / "run")
    accuracy = (run.plain if more else run).test_accuracy
    assert abs(np.sum(found == names[test.y]) - accuracy * len(test)) < 1.5
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in rows)
    assert "ignored columns: label" in capsys.readouterr().out


def test_columns_are_found_by_name(table_run, tmp_path):
    expected = classify(table_run, table_run / "table.csv")
    with (table_run / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [{**row, 'a "note"': "=1;2"} for row in csv.DictReader(file)]
    other = tmp_path / "other order.csv"
    with other.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ['a "note"', "c", "b", "a"], delimiter=";", restval="")
        writer.writeheader()
        writer.writerows({name: row[name] for name in ('a "note"', "c", "b", "a")} for row in rows)
    found = classify(table_run, other)
    for name in ("class", "probability"):
        assert [row[name] for row in found] == [row[name] for row in expected]


def test_images_are_classified_as_the_results_say(image_run):
    folder = image_run / "images"
    rows = classify(image_run, folder)
    files = sorted(folder.rglob("*.png"))
    assert [row["origin"] for row in rows] == [str(file) for file in files]
    test, names = test_data_of(image_run)
    escaped = np.array(["'" + name if name[0] == "=" else name for name in names])
    found = np.array([row["class"] for row in rows])[test.ids]
    accuracy = results.read(image_run / "run").test_accuracy
    assert abs(np.sum(found == escaped[test.y]) - accuracy * len(test)) < 1.5


def test_images_of_any_size_mode_and_place(image_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.full((30, 50), 250, np.uint8)
    deep = tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    Image.fromarray(pixels).save(deep / "+grey.PNG")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "=rgb.png")
    (tmp_path / "deep" / ".hidden").mkdir()
    (tmp_path / "deep" / ".hidden" / "a.png").write_bytes(b"no image")
    (tmp_path / "deep" / "notes.txt").write_text("passed over")
    rows = classify(image_run, "deep", "=rgb.png")
    assert [row["origin"] for row in rows] == ["deep/er/+grey.PNG", "'=rgb.png"]
    assert len({(row["class"], row["probability"]) for row in rows}) == 1


@pytest.fixture
def bad(table_run, image_run, tmp_path, monkeypatch):
    """A folder with inputs that cannot be used."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table").symlink_to(table_run / "run")
    (tmp_path / "images").symlink_to(image_run / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "there.csv").write_text("a,b,c\n1,2,3\n")
    (tmp_path / "letters.csv").write_text("c,b,a\n1,2,3\n\n1,x,3\n")
    (tmp_path / "short.csv").write_text("a,b\n1,2\n")
    (tmp_path / "twice.csv").write_text("a,b,c,a\n1,2,3,4\n")
    (tmp_path / "quotes.csv").write_text('a,b,c\n1,2,3\n1,"2,3\n')
    (tmp_path / "no_rows.csv").write_text("a,b,c\n")
    folder_of_images(tmp_path / "damaged")
    for name in ("bright/03.png", "dark/04.png"):
        content = (tmp_path / "damaged" / name).read_bytes()
        (tmp_path / "damaged" / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "old").mkdir()
    content = json.loads((table_run / "run" / "results.json").read_text("utf-8"))
    (tmp_path / "old" / "results.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["run_dir is empty"]),
        (["--run_dir=table", "there.csv"], ["output is empty"]),
        (["--run_dir=table", "--output=o.csv"], ["there is no input"]),
        (["--run_dir=table", "--output=there.csv", "there.csv"], ["there.csv exists already"]),
        (["--run_dir=table", "--output=no/o.csv", "there.csv"], ["there is no folder no"]),
        (["--run_dir=empty", "--output=o.csv", "there.csv"], ["holds no finished run"]),
        (["--run_dir=old", "--output=o.csv", "there.csv"], ["earlier version", "classes.json"]),
        (["--run_dir=table", "--output=o.csv", "gone.csv"], ["gone.csv", "No such file"]),
        (["--run_dir=table", "--output=o.csv", "empty"], ["trained on a table", "a, b, c"]),
        (["--run_dir=table", "--output=o.csv", "letters.csv"], ["line 4: column 'b'", "'x'"]),
        (["--run_dir=table", "--output=o.csv", "short.csv"], ["no column 'c'"]),
        (["--run_dir=table", "--output=o.csv", "twice.csv"], ["2 columns have the name 'a'"]),
        (["--run_dir=table", "--output=o.csv", "quotes.csv"], ["line 3", "quotation marks"]),
        (["--run_dir=table", "--output=o.csv", "no_rows.csv"], ["but no rows"]),
        (["--run_dir=images", "--output=o.csv", "there.csv"], ["trained on images"]),
        (
            ["--run_dir=images", "--output=o.csv", "--plain_network", "damaged"],
            ["has no plain.keras", "--with_plain"],
        ),
        (["--run_dir=images", "--output=o.csv", "empty"], ["empty holds no images"]),
        (["--run_dir=images", "--output=o.csv", "notes.txt"], ["notes.txt", "not an image"]),
        (["--run_dir=images", "--output=o.csv", "gone"], ["gone: there is no such"]),
        (
            ["--run_dir=images", "--output=o.csv", "damaged/dark"],
            ["dark/04.png cannot be read as an image", "--bad_files=skip"],
        ),
        (["--run_dir=table", "--outputs=o.csv", "there.csv"], ["--outputs", "--output"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_one_line(bad, arguments, parts, capsys):
    assert predict.main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("l2rw: ") and complaint.count("\n") == 1
    for part in parts:
        assert part in complaint
    assert not (bad / "o.csv").exists()


def test_all_damaged_images_are_listed_or_left_out(bad, capsys):
    flags = ["--run_dir=images", "--output=o.csv"]
    assert predict.main([*flags, "damaged"]) == 2
    complaint = capsys.readouterr().err
    assert "2 files of damaged" in complaint and not (bad / "o.csv").exists()
    assert "bright/03.png: " in complaint and "dark/04.png: " in complaint
    assert predict.main([*flags, "damaged", "--bad_files=skip"]) == 0
    with (bad / "o.csv").open(encoding="utf-8", newline="") as file:
        origins = [row["origin"] for row in csv.DictReader(file)]
    assert len(origins) == 118 and "damaged/dark/04.png" not in origins
    printed = capsys.readouterr().out
    assert "2 files of damaged left out:\n  ./bright/03.png: " in printed
    assert "\n  ./dark/04.png: " in printed and "left_out.csv" not in printed


def test_help_says_what_goes_in_and_out(capsys):
    assert predict.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for part in ("INPUT", "probabilities", "uint8", "--run_dir=", "--output="):
        assert part in printed
