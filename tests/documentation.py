"""The fenced blocks of a page for people: found, and run with small data and little training."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from l2rw_tf import __main__ as programs
from l2rw_tf.command_line import settings
from l2rw_tf.comparison.plan import ComparisonConfig, plan
from l2rw_tf.report import pictures
from l2rw_tf.runs.config import RunConfig

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
# What a command of a page is given besides, so that it takes seconds.
SHORTER = {
    "train": (
        *("--network=mlp", "--epochs=1", "--lr_decay_epochs=", "--with_plain=false"),
        *("--progress=none", "--tensorboard=false", "--deterministic=false"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: What stands after the fence.
        title: The file that the block is an excerpt of, or "".
        text: Its lines, without the indentation of the fence.
    """

    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block, a list of words each."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in their order."""
    found = []
    for match in _FENCE.finditer(page.read_text("utf-8")):
        title = re.search(r'title="([^"]*)"', match["info"])
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
        found.append(Block(match["language"], title[1] if title else "", text))
    return found


def has_snippets(page: Path) -> bool:
    """Whether a page has Python of its own, which is no excerpt."""
    return any(one.language == "python" and not one.title for one in blocks(page))


def run_snippets(page: Path) -> dict[str, Any]:
    """Runs the Python blocks of a page that are no excerpts, one after the other.

    Returns:
        The names that they leave; they begin with those of `digits`.
    """
    names = digits()
    for one in blocks(page):
        if one.language == "python" and not one.title:
            exec(compile(one.text, page, "exec"), names)
    return names


def commands(page: Path) -> list[list[str]]:
    """Returns the commands of a page, in their order."""
    found = [one.commands for one in blocks(page) if one.language == "bash"]
    return [words for one in found for words in one]


def digits() -> dict[str, Any]:
    """Returns the names that snippets use: digits, of which 40 % of 400 have another label."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    random = np.random.default_rng(0)
    noisy = np.where(random.random(400) < 0.4, random.integers(0, 10, 400), y[:400])
    return {
        **{"x": x[:400], "y": noisy, "x_clean": x[400:450], "y_clean": y[400:450]},
        **{"x_val": x[450:500], "y_val": y[450:500], "x_test": x[500:600], "y_test": y[500:600]},
    }


def true_labels() -> np.ndarray:
    """Returns what y of `digits` would be without wrong labels."""
    return load_digits(return_X_y=True)[1][:400]


def go_to_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a folder with what commands name the working directory; charts are left out there."""
    monkeypatch.chdir(folder)
    _write_data(folder)
    # Most of the time of a short run; tests/report/ has the charts.
    monkeypatch.setattr(pictures.Chart, "source", "data:,")


def _write_data(folder: Path) -> None:
    x, y = load_digits(n_class=3, return_X_y=True)
    images = (x.reshape(-1, 8, 8) * 15).astype(np.uint8)
    for number in range(120):
        part = ("train", "train", "train", "clean", "test")[number % 5]
        place = folder / "photos" / part / "abc"[y[number]]
        if number % 11 == 0 and part == "train":
            place = place.with_name("abc"[y[number] - 1])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(place / f"{number}.png")
    (folder / "new_photos").mkdir()
    for number in range(120, 123):
        Image.fromarray(images[number]).save(folder / "new_photos" / f"{number}.png")
    for name, rows in (("customers", range(90)), ("checked", range(90, 120))):
        lines = [",".join(map(str, [*x[row, 18:22], "abc"[y[row]]])) for row in rows]
        text = "\n".join(["age,income,visits,months,label", *lines, ""])
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    new = "\n".join(
        ["age,income,visits,months", *(",".join(map(str, one)) for one in x[:3, 18:22])]
    )
    (folder / "new_customers.csv").write_text(new + "\n", encoding="utf-8")
    (folder / "configs").symlink_to(ROOT / "configs")


def review(run_dir: Path, file: Path) -> None:
    """Writes what somebody who knows the labels says of the first suspects of a run."""
    with (run_dir / "examples.csv").open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened))[:10]
    classes = json.loads((run_dir / "classes.json").read_text("utf-8"))
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["origin", "content_hash", "given_label", "decision", "label"])
        for row in rows:
            numbers = row["given_label"], row.get("true_label") or row["suggested_label"]
            given, right = (classes[int(number)] for number in numbers)
            decided = ("right", "") if given == right else ("other", right)
            origin = row.get("origin") or f"index {row['id']}"
            writer.writerow([origin, row["content_hash"], given, *decided])


def run(command: list[str], folder: Path) -> int:
    """Runs a command of a page in this process, shortened, and returns its exit code.

    Args:
        command: Its words.
        folder: The working directory, with the data.
    """
    match command:
        case ["l2rw", program, *flags]:
            pass
        case ["python", "-m", module, *flags] if module.startswith("l2rw_tf."):
            program = {name: one for one, (name, _) in programs.COMMANDS.items()}[module]
        case _:
            raise AssertionError(f"no test knows how to run {shlex.join(command)}")
    if program == "compare":
        # Its runs are processes of `train`, which tests/test_compare.py starts.
        return 0 if plan(*settings.from_arguments(flags, ComparisonConfig, RunConfig)).runs else 1
    if "--corrections=corrections.csv" in flags and not (folder / "corrections.csv").exists():
        (latest,) = (folder / "runs").iterdir()
        review(latest, folder / "corrections.csv")
    return programs.main([program, *flags, *SHORTER.get(program, ())])
