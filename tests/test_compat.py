"""The table of versions: what is read of pytest's report, and where the table is written."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from benchmarks import compat

TESTS = """
import pytest
def test_passes(): pass
def test_fails(): assert False
def test_is_skipped(): pytest.skip()
def test_cannot_start(missing): pass
"""


@pytest.mark.process
def test_the_outcome_is_that_of_pytest(tmp_path):
    (tmp_path / "test_four.py").write_text(TESTS)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "test_four.py"]
    subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, check=False)
    found = compat.outcome(report, ("3.12.1",), True)
    assert (found.passed, found.skipped, found.failed) == (1, 1, 2)
    assert found.row == "| 3.12.1 | yes | 1 | 1 | 2 |"
    assert not found.is_good


def test_the_table_replaces_the_one_before():
    rows = [compat.Outcome(("3.11",) * 6, True, passed, 0, 0) for passed in (5, 7)]
    page = compat.with_table("# Versions\n\nText.\n\n| Python |\n", rows[:1])
    assert page.startswith("# Versions\n\nText.\n\n| Python | keras |") and "| 5 |" in page
    again = compat.with_table(page, rows[1:])
    assert again == page.replace("| 5 |", "| 7 |")
    assert len({line.count("|") for line in page.splitlines()[4:]}) == 1


def test_the_combinations_are_those_that_are_promised():
    project = tomllib.loads((compat.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ranges = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    minors = {"keras": set(), "tensorflow": set()}
    for combination in compat.COMBINATIONS:
        for package in map(Requirement, combination.packages):
            (exact,) = package.specifier
            assert exact.version.removesuffix(".*") + ".9" in ranges[package.name]
            minors[package.name].add(exact.version)
    assert len(minors["keras"]) >= 3 and len(minors["tensorflow"]) >= 2
    pythons = {combination.python for combination in compat.COMBINATIONS}
    assert pythons == {
        one.rpartition(" ")[2] for one in project["classifiers"] if "Python :: 3." in one
    }
