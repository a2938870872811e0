"""From a run to its report, to what somebody says of its suspects, to a run with better labels."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import time

import numpy as np
import pytest

from l2rw_tf import audit, main, quality
from l2rw_tf.data import corrections
from l2rw_tf.data.examples import Examples
from l2rw_tf.report import page, pictures
from l2rw_tf.runs import results
from l2rw_tf.runs.run_directory import RunDirectory
from tests import made_up, moments, report_check

NASTY = ("</script><img src=x onerror=alert(1)>", '=a "b", c', "'tis; 数字", "001")
DIGITS = [
    "--network=mlp",
    "--noise_type=background",
    "--noise_ratio=0.4",
    "--epochs=3",
    "--progress=none",
    "--tensorboard=false",
    "--review_examples=60",
]
needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, report_check.BROWSERS)), reason="needs a Chromium or Chrome"
)


def _rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _reviewed_run(path, name="run", table=False):
    """Writes the page of a run of 60 examples of which the first 20 have a wrong label."""
    n = 60
    true = np.arange(n) % len(NASTY)
    given = np.where(np.arange(n) < 20, (true + 1) % len(NASTY), true)
    score = np.linspace(0.01, 0.9, n)
    inputs = np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, 1), dtype=np.uint8)
    examples = {
        "id": np.arange(n),
        "origin": np.array([f"./train/{one}.png" for one in range(n)]),
        "content_hash": np.array([f"{one:016x}" for one in range(n)]),
        "given_label": given,
        "suggested_label": true,
        "given_probability": score,
        "label_quality": score,
    }
    run = page.Report(
        results=made_up.run_results(class_names=list(NASTY), test_confusion=np.eye(4).tolist()),
        metrics=[
            {"method": "l2rw", "epoch": 1, "phase": "main", "accuracy": 0.5, "test_accuracy": 0.5}
        ],
        settings={"batch_size": "50", "review_examples": "55"},
        examples=quality.ranked(examples),
        training=Examples(inputs.reshape(n, -1) if table else inputs, given, None, np.arange(n)),
        feature_names=[f"<b>{one}</b>" for one in range(64)] if table else (),
        name=name,
        corrections=[
            corrections.Correction("./train/gone.png", "f" * 16, NASTY[0], "other", NASTY[1])
        ],
    )
    path.write_text(_drawn(run), encoding="utf-8")
    return run


def _drawn(run):
    with pictures.style():
        return page.page(run)


@pytest.fixture
def browser():
    with report_check.Browser.started(report_check.find_browser()) as started:
        yield started


def _text(browser, name):
    return browser.evaluate(f"document.getElementById('review-{name}').innerText")


def _comes(browser, name, start):
    """Waits for a text: the browser reads files and what it keeps when it has time."""
    until = time.monotonic() + 20
    while not _text(browser, name).startswith(start) and time.monotonic() < until:
        time.sleep(0.05)
    assert _text(browser, name).startswith(start)


def _comes_again(browser, file, width, start):
    """Visits a page anew; the browser may open it before it has stored what was decided last."""
    until = time.monotonic() + 20
    assert browser.open(file, width) is None
    while not _text(browser, "progress").startswith(start) and time.monotonic() < until:
        time.sleep(0.05)
        browser.open(file, width)
    assert _text(browser, "progress").startswith(start)


@needs_browser
@pytest.mark.process
def test_a_review_by_mouse_and_by_keyboard(tmp_path, browser):
    file = tmp_path / "report.html"
    _reviewed_run(file)
    assert browser.open(file) is None
    shown = json.loads(browser.evaluate("document.getElementById('review-data').textContent"))
    origins = [one["origin"] for one in shown["examples"]]
    # Classes take turns: among the first of each turn all four classes.
    assert {one["given"] for one in shown["examples"][:4]} == {0, 1, 2, 3}
    assert _text(browser, "progress").startswith("0 of 55 decided, and 1 more that")
    assert _text(browser, "origin") == origins[0]

    browser.click("#review-right")
    browser.click("#review-other")
    browser.click("#review-labels li:nth-child(1) button")
    browser.click("#review-other")
    browser.click("#review-labels li:nth-child(4) button")
    browser.press("3", "4", "ArrowLeft", "k")
    assert _text(browser, "origin") == origins[3] and _text(browser, "verdict")
    # A decision can be taken again; the next one is the first that nobody looked at.
    browser.press("1")
    assert _text(browser, "origin") == origins[5]
    browser.press("j", "2", "Enter", "o", *"001", "Enter")
    browser.press("2", "ArrowDown", "ArrowDown", "Enter", "2", "Escape", "u")
    assert _text(browser, "progress").startswith("8 of 55 decided, 1 left undecided")
    assert not browser.complaints()

    _comes_again(browser, file, 400, "8 of 55 decided, 1 left undecided")
    assert not browser.evaluate("document.getElementById('review-not-kept').checkVisibility()")
    downloaded = browser.download(lambda: browser.click("#review-download"), tmp_path)
    assert downloaded.name == "corrections.csv"
    assert downloaded.read_text("utf-8").startswith("origin,content_hash,given_label,decision,lab")
    rows = corrections.read(str(downloaded))
    names = corrections._Names(NASTY)
    found = {row.origin: (row.decision, names.label(row.label)) for row in rows}
    examples = {one["origin"]: one for one in shown["examples"]}
    suggested = [examples[origin]["suggested"] for origin in origins]
    assert found.pop("./train/gone.png") == ("other", 1)
    assert len(found) == 9
    assert found[origins[0]] == ("right", shown["examples"][0]["given"])
    assert found[origins[1]] == ("other", suggested[1])
    assert found[origins[2]][0] in ("other", "right") and found[origins[2]][1] != suggested[2]
    assert found[origins[3]] == ("right", shown["examples"][3]["given"])
    assert found[origins[4]] == ("undecided", None)
    assert origins[5] not in found and found[origins[6]] == ("other", suggested[6])
    assert found[origins[7]][1] == 3 and found[origins[9]][0] == "unusable"
    assert all(
        row.content_hash == examples[row.origin]["hash"]
        and names.label(row.given_label) == examples[row.origin]["given"]
        for row in rows
        if row.origin in examples
    )
    # A run of another name has decisions of its own, and takes the file.
    _reviewed_run(tmp_path / "other.html", "other")
    browser.open(tmp_path / "other.html")
    assert _text(browser, "progress").startswith("0 of 55")
    browser.upload("#review-load", downloaded)
    _comes(browser, "message", "10 decisions loaded.")
    assert _text(browser, "progress").startswith("8 of 55 decided, 1 left undecided")
    assert not browser.complaints()


@needs_browser
@pytest.mark.process
def test_the_page_says_what_cannot_be_kept_and_when_to_stop(tmp_path, browser):
    file = tmp_path / "report.html"
    _reviewed_run(file, table=True)
    browser.open(file)
    assert _text(browser, "content").startswith("<b>0</b> ")
    browser.evaluate("Storage.prototype.setItem = () => { throw new Error('full'); }")
    browser.click("#review-right")
    warning = "document.getElementById('review-not-kept').checkVisibility()"
    assert browser.evaluate(warning)
    assert "After 50 decisions" in _text(browser, "yield")
    browser.press(*"2", "Enter", *("r" * 49))
    assert "hardly find anything" in _text(browser, "yield")
    browser.press(*("u" * 4))
    assert "All examples on this page" in _text(browser, "message")


@pytest.mark.slow
def test_the_largest_page_stays_small(tmp_path):
    run = _reviewed_run(tmp_path / "small.html")
    n = 400
    random = np.random.default_rng(0)
    # Noise is what no format makes small.
    inputs = random.integers(0, 256, size=(n, 300, 300, 3), dtype=np.uint8)
    columns = {name: np.resize(column, n) for name, column in run.examples.items()}
    columns["id"] = np.arange(n)
    run = dataclasses.replace(
        run,
        settings={"batch_size": "50", "review_examples": "400"},
        training=Examples(inputs, columns["given_label"], None, np.arange(n)),
        examples=quality.ranked(columns),
    )
    drawn = _drawn(run)
    assert 5e6 < len(drawn) < 25e6 and drawn.count('"hash": ') == n
    none = dataclasses.replace(run, settings={"batch_size": "50", "review_examples": "0"})
    assert "<script" not in _drawn(none)


def _train(run_dir, *flags):
    code = main.main([*DIGITS, f"--run_dir={run_dir}", *flags])
    return code, json.loads((run_dir / "results.json").read_text("utf-8")) if code == 0 else None


def _check_changes(first, second):
    """Checks that the page says what has changed."""
    content = [json.loads((run / "results.json").read_text("utf-8")) for run in (first, second)]
    page = (second / "report.html").read_text("utf-8")
    changes = page.partition("since the reviewed run")[2].partition("</table>")[0]
    for run in content:
        for figure in (run["test_accuracy"], run["wrong_label_share"]):
            assert f"<td>{figure:.1%}</td>" in changes
        for number in (run["examples"]["clean"], run["suspected_labels"]):
            assert f"<td>{number:,}</td>" in changes
    assert len(_rows(second / "examples.csv")) > content[1]["suspected_labels"]


def _check_second_run(first, second, rows):
    """Checks that corrections, which tell the truth, became clean examples of a second run."""
    before, after = (
        json.loads((run / "results.json").read_text("utf-8")) for run in (first, second)
    )
    number = sum(row["decision"] in ("right", "other") for row in rows)
    gone = sum(row["decision"] != "undecided" for row in rows)
    assert after["examples"]["clean"] == before["examples"]["clean"] + number
    assert after["examples"]["training"] == before["examples"]["training"] - gone
    left = {row["id"]: row for row in _rows(second / "examples.csv")}
    was = {row["id"]: row for row in _rows(first / "examples.csv")}
    assert set(was) - set(left) == {
        row["origin"].removeprefix("index ") for row in rows if row["decision"] != "undecided"
    }
    assert all(row["given_label"] == was[one]["given_label"] for one, row in left.items())
    assert after["wrong_label_share"] < before["wrong_label_share"]
    said = (second / "report.html").read_text("utf-8")
    assert "labels confirmed" in said and "left undecided" in said
    copy = second / "corrections.csv"
    assert f"--corrections={copy.resolve()}\n" in (second / "config.cfg").read_text("utf-8")
    assert {str(row) for row in _rows(copy)} == {str(row) for row in rows}


@pytest.mark.slow
def test_corrections_by_hand_make_the_next_run_better(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert _train(first)[0] == 0
    rows = [
        {
            "origin": f"index {row['id']}",
            "content_hash": "",
            "given_label": row["given_label"],
            "decision": "right" if row["given_label"] == row["true_label"] else "other",
            "label": row["true_label"],
        }
        for row in _rows(first / "examples.csv")[:200]
    ]
    rows[5] |= {"decision": "unusable", "label": ""}
    file = tmp_path / "mine.csv"

    def write(rows):
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, corrections.COLUMNS, delimiter=";")
            writer.writeheader()
            writer.writerows(rows)

    write([*rows, {**rows[0], "origin": "index 99999"}, {**rows[1], "decision": "perhaps"}])
    capsys.readouterr()
    assert _train(second, f"--corrections={file}")[0] == 2
    said = capsys.readouterr().err
    assert "index 99999" in said and "perhaps" in said and said.count("\n") == 3
    assert not second.exists()

    write([*rows, rows[3]])
    assert _train(second, f"--corrections={file}", f"--reviewed_run={tmp_path}")[0] == 2
    assert "reviewed_run: " in capsys.readouterr().err and not second.exists()
    for name, of, words in (
        ("a", "pets.csv", "trained on pets.csv"),
        ("b", "digits", "only one of them has 0, 1, 2"),
    ):
        (tmp_path / name).mkdir()
        results.write(RunDirectory(tmp_path / name), made_up.run_results(dataset=of))
        other = f"--reviewed_run={tmp_path / name}"
        assert _train(second, f"--corrections={file}", other)[0] == 2
        assert words in capsys.readouterr().err and not second.exists()
    # What a killed process would leave.
    killed = tmp_path / "killed"
    with moments.happening(second, "step", 15, lambda: shutil.copytree(second, killed)):
        reviewed = f"--reviewed_run={first}"
        assert _train(second, f"--corrections={file}", reviewed)[0] == 0
    _check_changes(first, second)
    assert "confirmed" in capsys.readouterr().out
    file.unlink()
    _check_second_run(first, second, rows)
    # It is resumed, and a run repeated, with the run's own copy.
    assert (killed / "checkpoints").exists() and not (killed / "results.json").exists()
    assert _train(killed, "--resume")[0] == 0
    assert _rows(killed / "examples.csv") == _rows(second / "examples.csv")
    assert main.main([f"--flagfile={second / 'config.cfg'}", f"--run_dir={tmp_path / 'c'}"]) == 0
    assert _rows(tmp_path / "c" / "examples.csv") == _rows(second / "examples.csv")


@needs_browser
@pytest.mark.process
@pytest.mark.slow
def test_a_review_in_the_browser_makes_the_next_run_better(tmp_path, browser):
    first, second = tmp_path / "first", tmp_path / "second"
    assert _train(first)[0] == 0
    truth = {f"index {row['id']}": row["true_label"] for row in _rows(first / "examples.csv")}
    browser.open(first / "report.html")
    browser.click("#review-next")
    browser.press("ArrowLeft")
    for _ in range(40):
        origin, given = _text(browser, "origin"), _text(browser, "given")
        browser.press(*("1" if truth[origin] == given else ("2", truth[origin], "Enter")))
    file = browser.download(lambda: browser.press("d"), tmp_path)
    rows = _rows(file)
    assert len(rows) == 40 and all(row["label"] == truth[row["origin"]] for row in rows)
    assert {row["decision"] for row in rows} == {"right", "other"}
    assert _train(second, f"--corrections={file}")[0] == 0
    _check_second_run(first, second, rows)
    # The second page hands on what was decided for the first.
    browser.open(second / "report.html")
    browser.click("#review-unusable")
    both = browser.download(lambda: browser.press("d"), tmp_path / "again")
    assert len(_rows(both)) == 41 and [row for row in _rows(both) if row in rows] == rows


@pytest.mark.slow
def test_the_loop_on_a_csv_with_a_list_of_trusted_examples(tmp_path, capsys):
    """A list that changes or goes after the run has begun changes nothing."""
    table = made_up.table_file(tmp_path / "rows.csv")
    listed = tmp_path / "right.list"
    listed.write_text("\n".join(f"./rows.csv:{line}" for line in range(2, 32)), "utf-8")
    flags = [f"--dataset={table}", "--network=mlp", "--epochs=2", "--progress=none"]
    flags += ["--tensorboard=false", "--deterministic=false"]
    run, again = tmp_path / "run", tmp_path / "again"
    assert main.main([*flags, f"--clean_data={listed}", f"--run_dir={run}"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy is measured on 6 held-out trusted examples" in printed
    content = json.loads((run / "results.json").read_text("utf-8"))
    assert content["test_labels"] == "trusted" and content["examples"]["test"] == 6
    share = content["trusted_accuracy"]
    assert f"{share:.1%} ± {content['trusted_accuracy_error']:.1%}" in printed
    rows = _rows(run / "metrics.csv")
    assert float(rows[-1]["trusted_accuracy"]) == share and len(rows) == 2
    assert (run / "trusted.txt").read_bytes() == listed.read_bytes()
    assert f"--clean_data={(run / 'trusted.txt').resolve()}\n" in (run / "config.cfg").read_text()
    listed.write_text("./rows.csv:99\n", "utf-8")
    (run / "results.json").unlink()
    assert main.main(["--resume", f"--run_dir={run}"]) == 0
    listed.unlink()
    assert main.main([f"--flagfile={run / 'config.cfg'}", f"--run_dir={again}"]) == 0
    for one in (run, again):
        assert (one / "trusted.txt").read_text("utf-8").count("\n") == 29
        assert json.loads((one / "results.json").read_text("utf-8"))["trusted_accuracy"] == share
    # The next round: a table of all labels, filled in here and there, is corrections.
    labels, second = tmp_path / "labels.csv", tmp_path / "second"
    assert audit.main([f"--run_dir={run}", f"--write_labels={labels}"]) == 0
    header, *lines = labels.read_text("utf-8").splitlines()
    lines[:2] = [lines[0].replace(",,", ",right,"), lines[1].replace(",,", ",unusable,")]
    labels.write_text("\n".join([header, *lines]), "utf-8")
    repeat = [f"--flagfile={run / 'config.cfg'}", f"--corrections={labels}"]
    assert main.main([*repeat, f"--run_dir={second}"]) == 0
    after = json.loads((second / "results.json").read_text("utf-8"))["examples"]
    assert after == content["examples"] | {
        "clean": content["examples"]["clean"] + 1,
        "training": content["examples"]["training"] - 2,
    }
    # A line was inserted: what was reviewed is one line below now.
    head, *rows = table.read_text("utf-8").splitlines()
    table.write_text("\n".join([head, rows[5], *rows]), "utf-8")
    capsys.readouterr()
    assert main.main([*repeat, f"--run_dir={tmp_path / 'third'}"]) == 2
    said = capsys.readouterr().err
    assert "2 of 2 rows do not fit" in said and said.count("is not what was reviewed") == 2
    assert said.count("has now") == 2 and not (tmp_path / "third").exists()
