"""One version everywhere, and what the check of a release calls whole."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import l2rw_tf
from benchmarks import release_check

ROOT = Path(__file__).parents[1]


def first(pattern: str, file: str) -> str:
    return re.search(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE)[1]


def test_one_version_and_one_date():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = first(r"^version: (\S+)$", "CITATION.cff")
    assert l2rw_tf.__version__ == project["version"] == version
    released = first(r"^## (\[\d.*)$", "CHANGELOG.md")
    assert released == f"[{version}] - {first(r'^date-released: (.+)$', 'CITATION.cff')}"


def test_the_names_in_a_wheel_and_an_sdist(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("l2rw_tf/main.py", "")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as sdist:
        sdist.add(ROOT / "pyproject.toml", "l2rw_tf-1.0.0/pyproject.toml")
        sdist.add(ROOT / "pyproject.toml", "l2rw_tf-1.0.0/configs/a.cfg")
    assert release_check.names_in(tmp_path / "a.whl") == {"l2rw_tf/main.py"}
    assert release_check.names_in(tmp_path / "a.tar.gz") == {"pyproject.toml", "configs/a.cfg"}


def test_a_distribution_is_whole_and_holds_nothing_else():
    expected = {"l2rw_tf/main.py", "l2rw_tf/report/review.js"}
    made = {"PKG-INFO", "l2rw_tf-1.0.0.dist-info/RECORD", "l2rw_tf.egg-info/SOURCES.txt"}
    assert release_check.unlike(expected | made, expected) == []
    assert release_check.unlike({"l2rw_tf/main.py", "tests/scratch.py"}, expected) == [
        "unexpected: tests/scratch.py",
        "missing: l2rw_tf/report/review.js",
    ]


def test_a_failed_check_is_counted(capsys):
    checks = release_check.Checks()
    checks.add("the wheel is whole", [], "9 files")
    checks.add("the demo runs", ["exit code 1"])
    assert checks.failed == ["the demo runs"]
    assert capsys.readouterr().out.splitlines() == [
        "ok      the wheel is whole: 9 files",
        "FAILED  the demo runs",
        "        exit code 1",
    ]
