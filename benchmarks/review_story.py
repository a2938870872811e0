"""What ten minutes of review are worth: the loop of the README on human labels, from end to end.

    python -m benchmarks.review_story DIR [--seeds S ...] [--reviewed=200] [--flag=value ...]

CIFAR-10N's `random_label1` (17.2% of the labels wrong) is written as folders of JPEG files:
`train/` by the noisy label (15,000 images), `clean/` (20 of each class) and `test/` (5,000) by the
true one. Then, for each seed, the loop is done as a user without Python would: train; open
report.html in a browser and decide on the first examples that it shows, by their true labels;
download corrections.csv; train again with it. For comparison, as many examples drawn at random are
reviewed instead. Each run also trains plainly. `predict` then classifies the test files.

Finished steps are not repeated. The results are in story.json and printed as a table. CIFAR-10N is
CC BY-NC: do not distribute the content of DIR. Other flags are those of a run.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tests import report_check

NUM_TRAINING, CLEAN_PER_CLASS, NUM_TEST = 15_000, 20, 5_000
NOISY = "random_label1"
FLAGS = (
    "--test_labels_are_right",
    "--image_size=16",
    "--tensorboard=false",
    "--progress=lines",
    "--with_plain",
)
ROUNDS = ("first", "suspects", "random")
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
DECISIONS = "JSON.parse(document.getElementById('review-data').textContent)"


def write_folders(folder: Path) -> None:
    """Writes the images as JPEG files, and the true labels of training images as truth.csv."""
    import tensorflow_datasets as tfds
    from PIL import Image

    builder = tfds.builder("cifar10_n")
    source = tfds.as_numpy(builder.as_dataset())
    order = np.random.default_rng(0).permutation(builder.info.splits["train"].num_examples)
    place = {int(index): rank for rank, index in enumerate(order)}
    left = dict.fromkeys(range(len(CLASSES)), CLEAN_PER_CLASS)

    def write(image: np.ndarray, part: str, label: int, index: int) -> str:
        path = folder / part / CLASSES[label] / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)
        return f"./{path.relative_to(folder).as_posix()}"

    truth = []
    for index, one in enumerate(source["train"]):
        label = int(one["label"])
        if place[index] < NUM_TRAINING:
            truth.append((write(one["image"], "train", int(one[NOISY]), index), CLASSES[label]))
        elif left[label]:
            left[label] -= 1
            write(one["image"], "clean", label, index)
    for index, one in enumerate(source["test"]):
        if index < NUM_TEST:
            write(one["image"], "test", int(one["label"]), index)
    write_csv(folder.parent / "truth.csv", ("origin", "label"), truth)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads a CSV file with a header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a CSV file with a header; the file is complete or absent."""
    beside = path.with_suffix(".part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    beside.replace(path)


def train(run: Path, flags: Sequence[str]) -> None:
    """Trains in a separate process; an interrupted run is resumed."""
    if not (run / "results.json").exists():
        program = [sys.executable, "-m", "l2rw_tf.main", f"--run_dir={run}", "--resume", *flags]
        subprocess.run(program, check=True)


def review_page(run: Path, truth: dict[str, str], number: int, target: Path) -> None:
    """Reviews the first examples of a report in a browser, by keyboard; downloads the decisions."""
    with report_check.Browser.started(report_check.find_browser()) as browser:
        if trouble := browser.open(run / "report.html"):
            raise RuntimeError(trouble)
        shown = browser.evaluate(f"{DECISIONS}.examples.map((one) => [one.origin, one.given])")
        classes = browser.evaluate(f"{DECISIONS}.classes")
        browser.evaluate("document.getElementById('review-panel').focus()")
        for origin, given in shown[:number]:
            right = truth[origin]
            browser.press(*(["1"] if right == classes[given] else ["2", *right, "Enter"]))
        print(browser.evaluate("document.getElementById('review-yield').innerText"))
        file = browser.download(lambda: browser.press("d"), target.parent / f"{target.stem}-page")
        if trouble := browser.complaints():
            raise RuntimeError("; ".join(trouble))
    file.replace(target)


def review_random(run: Path, truth: dict[str, str], number: int, seed: int, target: Path) -> None:
    """Writes decisions on training examples that are drawn at random."""
    examples = read_csv(run / "examples.csv")
    classes = json.loads((run / "classes.json").read_text("utf-8"))
    rows = []
    for place in np.random.default_rng(seed).choice(len(examples), number, replace=False):
        one = examples[place]
        right = truth[one["origin"]]
        given = classes[int(one["given_label"])]
        decision = "right" if right == given else "other"
        rows.append((one["origin"], one["content_hash"], given, decision, right))
    write_csv(target, ("origin", "content_hash", "given_label", "decision", "label"), rows)


def predicted_right(run: Path, test: Path) -> float:
    """Returns the fraction of test files that `predict` classifies correctly."""
    output = run.parent / f"{run.name}-predicted.csv"
    if not output.exists():
        program = [sys.executable, "-m", "l2rw_tf.predict", f"--run_dir={run}"]
        subprocess.run([*program, f"--output={output}", str(test)], check=True)
    rows = read_csv(output)
    return statistics.fmean(Path(one["origin"]).parent.name == one["class"] for one in rows)


def story(directory: Path, seed: int, number: int, flags: Sequence[str]) -> dict[str, object]:
    """Goes through the loop with one seed and returns its results."""
    data = directory / "data"
    truth = {one["origin"]: one["label"] for one in read_csv(directory / "truth.csv")}
    given = [f"--dataset={data}", f"--seed={seed}", *FLAGS, *flags]
    runs = {name: directory / f"{name}-seed{seed}" for name in ROUNDS}
    train(runs["first"], given)
    found: dict[str, object] = {"seed": seed}
    for name in ROUNDS[1:]:
        corrections = directory / f"{name}-seed{seed}.csv"
        if not corrections.exists():
            if name == "suspects":
                review_page(runs["first"], truth, number, corrections)
            else:
                review_random(runs["first"], truth, number, seed, corrections)
        decided = read_csv(corrections)
        found[f"{name}_wrong"] = statistics.fmean(one["decision"] != "right" for one in decided)
        train(runs[name], [*given, f"--corrections={corrections}"])
    for name, run in runs.items():
        results = json.loads((run / "results.json").read_text("utf-8"))
        found[f"{name}_l2rw"] = results["test_accuracy"]
        found[f"{name}_plain"] = results["plain"]["test_accuracy"]
    found["predict_l2rw"] = predicted_right(runs["suspects"], data / "test")
    return found


def table(stories: Sequence[dict[str, object]]) -> str:
    """Returns a table with one row of results per seed, and their means."""
    keys = [key for key in stories[0] if key != "seed"]
    rows = [[one["seed"], *(f"{100 * one[key]:.1f}" for key in keys)] for one in stories]
    means = [100 * statistics.fmean(one[key] for one in stories) for key in keys]
    rows.append(["mean", *(f"{mean:.1f}" for mean in means)])
    lines = [["seed", *keys], ["--:"] * (len(keys) + 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Goes through the loop with each seed and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reviewed", type=int, default=200)
    options, flags = parser.parse_known_args(arguments)
    options.directory.mkdir(parents=True, exist_ok=True)
    if not (options.directory / "truth.csv").exists():
        write_folders(options.directory / "data")
    stories = []
    for seed in options.seeds:
        stories.append(story(options.directory, seed, options.reviewed, flags))
        (options.directory / "story.json").write_text(json.dumps(stories, indent=1), "utf-8")
        print(table(stories), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
