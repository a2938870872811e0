"""One term for each thing, as the documentation of Keras has it; no idioms of our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("l2rw_tf", "tests", "benchmarks", "examples", "configs", "docs")
KINDS = {".py", ".md", ".cfg", ".j2", ".js", ".toml", ".yml", ""}
# Pages for users, and flagfiles, whose heads are prose. Tables, code and flags may be longer.
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "WORKSPACE.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("configs/*"),
    ]
)

# An idiom, a line that has it, and what is said instead.
IDIOMS = [
    (r"\bby heart\b", "learned by heart", "memorized"),
    (r"\buneven class", "uneven classes", "class imbalance"),
    (r"\bto be had\b", "not to be had", "not available"),
    (r"\b(steps|batches) an epoch\b", "5 steps an epoch", "per epoch"),
    (r"\b(images|examples) a class\b", "10 images a class", "per class"),
    (r"\b(values?|row|one|loss) an example\b(?! of\b)", "one value an example", "per example"),
    (r"\bwith repetition\b", "drawn with repetition", "with replacement"),
    (r"\bfor ever\b", "alive for ever", "forever"),
    (r"\bnumbered anew\b", "classes numbered anew", "renumbered"),
    (r"\b(minutes?|hours?|images|ms) a (second|step|run)\b", "two minutes a run", "per run"),
    (r"\bgoes on\b", "the run goes on", "resumes"),
    (r"\bprocess of its own\b", "a process of its own", "a separate process"),
]


def _lines() -> dict[str, str]:
    """Every line of the repository's text but this file's, by its place."""
    paths = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return {
        f"{path.relative_to(ROOT)}:{number}": line
        for path in paths
        if path.is_file() and path.suffix in KINDS and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    }


@pytest.mark.parametrize(("idiom", "line", "instead"), IDIOMS)
def test_no_idiom_is_left(idiom, line, instead):
    assert re.search(idiom, line) and not re.search(idiom, instead)
    lines = _lines()
    assert {"README.md:1", "l2rw_tf/reweighting/step.py:1", "configs/digits_noisy.cfg:1"} <= set(
        lines
    )
    assert [place for place, text in lines.items() if re.search(idiom, text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_are_short(page):
    # Fenced code is left out.
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "--"))]
    assert [line for line in lines if len(line) > 100] == []
