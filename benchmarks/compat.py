"""Runs the fast tests on each combination of Python, Keras and TensorFlow: `make compat`.

uv creates an environment for each combination, one after another, in the user's cache directory,
with the Pythons on PATH or downloaded ones. The wheel is installed there and trains from an empty
directory; the tests run in the checkout. The results become the table in docs/versions.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "versions.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2rw_tf" / "compat"
SELECTION = "not process and not xla and not slow"
SHOWN = ("keras", "tensorflow", "numpy", "scikit-learn", "tensorflow-datasets")
HEAD = f"| Python | {' | '.join(SHOWN)} | wheel trains | passed | skipped | failed |"
TRAIN = (
    "train",
    "--dataset=digits",
    "--network=lenet",
    "--noise_type=uniform",
    "--noise_ratio=0.4",
    "--clean_per_class=5",
    "--epochs=1",
    "--run_dir=run",
)


@dataclasses.dataclass(frozen=True)
class Combination:
    """The versions of an environment; others are the newest that pyproject.toml allows.

    Attributes:
        python: The minor version of Python.
        packages: Requirements in addition to those of pyproject.toml.
        resolution: uv's strategy; `lowest-direct` takes the lowest versions that pyproject.toml
            allows.
    """

    python: str
    packages: tuple[str, ...] = ()
    resolution: str = "highest"

    @property
    def name(self) -> str:
        """The name of the combination, for flags and folders."""
        packages = [package.replace("==", "").removesuffix(".*") for package in self.packages]
        return "-".join([f"python{self.python}", *packages, self.resolution])


COMBINATIONS = (
    Combination("3.11", resolution="lowest-direct"),
    Combination("3.12", ("keras==3.13.*", "tensorflow==2.21.*")),
    Combination("3.12", ("keras==3.14.*", "tensorflow==2.20.*")),
    Combination("3.11", ("keras==3.15.*", "tensorflow==2.20.*")),
    Combination("3.13"),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Results of the tests in one environment.

    Attributes:
        versions: Versions of Python and of the packages in `SHOWN`.
        wheel_trains: Whether the installed wheel trained and wrote a report.
        passed: Number of tests that passed.
        skipped: Number of tests that were skipped.
        failed: Number of tests that failed or could not start.
    """

    versions: Sequence[str]
    wheel_trains: bool
    passed: int
    skipped: int
    failed: int

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return self.wheel_trains and not self.failed

    @property
    def row(self) -> str:
        """The row of the table."""
        trains = "yes" if self.wheel_trains else "no"
        cells = [*self.versions, trains, self.passed, self.skipped, self.failed]
        return f"| {' | '.join(map(str, cells))} |"


def outcome(report: Path, versions: Sequence[str], wheel_trains: bool) -> Outcome:
    """Returns the outcome from the file that pytest wrote with `--junitxml`."""
    suite = xml.etree.ElementTree.parse(report).getroot()[0]
    tests, skipped, *failed = (
        int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")
    )
    passed = tests - skipped - sum(failed)
    return Outcome(versions, wheel_trains, passed, skipped, sum(failed))


def uv(*arguments: str | Path) -> None:
    """Runs uv in the checkout and exits if it fails; uv prints its own errors."""
    done = subprocess.run([sys.executable, "-m", "uv", "--quiet", *arguments], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def wheel() -> Path:
    """Builds the wheel from the source distribution, so that both are tested for completeness."""
    uv("build", "--clear", f"--out-dir={CACHE / 'dist'}")
    (path,) = (CACHE / "dist").glob("*.whl")
    return path


def environment(combination: Combination, wheel: Path) -> Path:
    """Creates a new environment from uv's package cache and returns its `bin` folder."""
    folder = CACHE / combination.name
    uv("venv", "--clear", f"--python={combination.python}", folder)
    install = ("pip", "install", f"--python={folder}")
    direct = ("--requirements=pyproject.toml", "--extra=dev", *combination.packages)
    uv(*install, f"--resolution={combination.resolution}", *direct)
    uv(*install, "--no-deps", wheel)
    return folder / "bin"


def wheel_trains(command: Path) -> bool:
    """Returns whether the installed command `l2rw` trains in an empty directory."""
    with tempfile.TemporaryDirectory() as folder:
        done = [
            subprocess.run([command, *arguments], cwd=folder, stdout=subprocess.DEVNULL).returncode
            for arguments in (("--help",), TRAIN)
        ]
        return not any(done) and (Path(folder) / "run" / "report.html").exists()


def versions_in(python: Path) -> list[str]:
    """Returns the versions of Python and of the packages in `SHOWN`."""
    code = (
        "import importlib.metadata, json, platform, sys; print(json.dumps("
        "[platform.python_version(), *map(importlib.metadata.version, sys.argv[1:])]))"
    )
    answer = subprocess.run([python, "-c", code, *SHOWN], check=True, capture_output=True)
    return json.loads(answer.stdout)


def try_out(combination: Combination, wheel: Path, tests: Sequence[str]) -> Outcome:
    """Trains with the wheel and runs the tests, in an environment of a combination."""
    programs = environment(combination, wheel)
    python, trains = programs / "python", wheel_trains(programs / "l2rw")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "--quiet", "-m", SELECTION, f"--junitxml={report}"]
        # Warnings of the libraries are errors only with the versions of requirements.txt.
        command += ["-W", "default", "-p", "no:cacheprovider", *tests]
        subprocess.run(command, cwd=ROOT, check=False)
        if not report.exists():
            sys.exit(f"{combination.name}: the tests did not start.")
        return outcome(report, versions_in(python), trains)


def with_table(page: str, outcomes: Sequence[Outcome]) -> str:
    """Returns the page with its table, which is at the end, replaced."""
    text, _, _ = page.partition(HEAD.split(" keras")[0])
    rule = "|---" * (len(SHOWN) + 5) + "|"
    return "\n".join([text + HEAD, rule, *(outcome.row for outcome in outcomes), ""])


def main(arguments: Sequence[str]) -> int:
    """Tests the combinations; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", choices=[each.name for each in COMBINATIONS], help="leaves the page unchanged"
    )
    parser.add_argument("tests", nargs="*", help="files and flags of pytest (after --)")
    chosen = parser.parse_args(arguments)
    outcomes, built = [], wheel()
    for combination in COMBINATIONS:
        if chosen.only in (None, combination.name):
            print(f"{combination.name} ...", flush=True)
            outcomes.append(try_out(combination, built, chosen.tests))
            print(outcomes[-1].row, flush=True)
    if not chosen.only and not chosen.tests:
        PAGE.write_text(with_table(PAGE.read_text("utf-8"), outcomes), "utf-8")
    return int(not all(outcome.is_good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
