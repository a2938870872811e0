"""Builds a release and tries it as users get it: `make release-check`.

Wheel and sdist are built from the last commit, and must hold its files and nothing else. Each is
installed into an empty environment with the versions of requirements.txt, where the demo runs from
an empty folder. The fast tests run on the installed wheel, which takes the place of the package in
the sources, since some tests read its files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.compat import ROOT, SELECTION, outcome, uv

BUILD = ROOT / "build" / "release-check"
DEMO = "configs/digits_noisy.cfg"
PACKAGE = "l2rw_tf"
# Of a checkout, and of no use without one.
OF_GIT = {".gitignore", ".ci/run"}
# What setuptools writes.
MADE = ("PKG-INFO", "setup.cfg", f"{PACKAGE}.egg-info/", f"{PACKAGE}-")
MINUTES = 60
# A path to the package would hide what is installed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


class Checks:
    """The checks so far, each printed as soon as it is done."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def add(self, name: str, problems: Sequence[str], found: str = "") -> None:
        """Prints a line, and one for each problem."""
        if problems:
            self.failed.append(name)
        print(f"{'FAILED' if problems else 'ok':6}  {name}{f': {found}' if found else ''}")
        print("".join(f"        {problem}\n" for problem in problems), end="", flush=True)


def say(what: str) -> None:
    print(f"{what} ...", flush=True)


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def unpacked(archive: Path, folder: str) -> Path:
    """Unpacks an archive with one folder in it, and returns that."""
    place = BUILD / folder
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(place, filter="data")
    (inner,) = place.iterdir()
    return inner


def committed() -> Path:
    """The archive of the last commit: in a checkout, setuptools reads what earlier builds left."""
    BUILD.mkdir(parents=True, exist_ok=True)
    archive = BUILD / "commit.tar"
    git("archive", "--prefix=commit/", f"--output={archive}", "HEAD")
    return archive


def names_in(distribution: Path) -> set[str]:
    """The files of a wheel or of an archive; those of an archive below its one folder."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return set(wheel.namelist())
    with tarfile.open(distribution) as archive:
        return {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}


def unlike(found: Iterable[str], expected: set[str]) -> list[str]:
    """What is in a distribution beside what it is to hold and what setuptools makes, or lacks."""
    found = {name for name in found if name in expected or not name.startswith(MADE)}
    surplus = [f"not to be in it: {name}" for name in sorted(found - expected)]
    return surplus + [f"missing: {name}" for name in sorted(expected - found)]


def build(sources: Path) -> tuple[Path, Path]:
    """Builds the sdist, and the wheel from that."""
    uv("build", "--clear", f"--out-dir={BUILD / 'dist'}", sources)
    (wheel,), (sdist,) = (BUILD / "dist").glob("*.whl"), (BUILD / "dist").glob("*.tar.gz")
    return wheel, sdist


def environment(name: str, distribution: Path) -> Path:
    """Makes an environment with a distribution and what that asks for; returns its `bin`."""
    folder = BUILD / name
    uv("venv", "--clear", f"--python={sys.executable}", folder)
    uv("pip", "install", f"--python={folder}", "--constraints=requirements.txt", distribution)
    return folder / "bin"


def installed_problems(programs: Path, cwd: Path) -> list[str]:
    """Says if another package than the installed one is imported there, or of another version."""
    code = (
        "import importlib.metadata, json, l2rw_tf; print(json.dumps("
        "[l2rw_tf.__file__, l2rw_tf.__version__, importlib.metadata.version('l2rw-tf')]))"
    )
    command = [programs / "python", "-c", code]
    answer = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, check=True, capture_output=True)
    file, version, of_metadata = json.loads(answer.stdout)
    problems = [] if Path(file).is_relative_to(programs.parent) else [f"{file} is imported"]
    if version != of_metadata:
        problems.append(f"__version__ is {version}, that of the metadata {of_metadata}")
    return problems


def demo_problems(programs: Path, flagfile: Path) -> list[str]:
    """Runs the demo in an empty folder by the installed command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [programs / "l2rw", "train", f"--flagfile={flagfile}", "--run_dir=demo"]
        code = subprocess.run(command, cwd=folder, env=ENVIRONMENT).returncode
        written = ("results.json", "report.html", "model.keras")
        missing = [name for name in written if not (Path(folder) / "demo" / name).exists()]
    return ([f"exit code {code}"] if code else []) + [f"not written: {name}" for name in missing]


def run_tests(programs: Path, sources: Path, flags: Sequence[str]) -> tuple[list[str], str]:
    """Runs the fast tests on what is installed; returns problems, and how many passed."""
    uv("pip", "install", f"--python={programs.parent}", "--requirements=requirements-dev.txt")
    (installed,) = programs.parent.glob(f"lib/python*/site-packages/{PACKAGE}")
    (sources / PACKAGE).symlink_to(installed)
    report = BUILD / "tests.xml"
    report.unlink(missing_ok=True)
    command = [programs / "python", "-m", "pytest", "--quiet", "-m", SELECTION]
    command += [f"--junitxml={report}", "-p", "no:cacheprovider", *flags]
    try:
        done = subprocess.run(command, cwd=sources, env=ENVIRONMENT, timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        return [f"not finished after {MINUTES} minutes"], ""
    if not report.exists():
        return ["they did not start"], ""
    counted = outcome(report, (), True)
    problems = [f"pytest's exit code {done.returncode}"] if done.returncode else []
    return problems, f"{counted.passed} passed, {counted.skipped} skipped, {counted.failed} failed"


def main(arguments: Sequence[str]) -> int:
    """Makes the checks; the exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help="files and flags of pytest (after --)")
    chosen, checks, commit = parser.parse_args(arguments), Checks(), committed()
    checks.add("everything is committed", git("status", "--porcelain").splitlines())
    say("building sdist and wheel")
    wheel, sdist = build(unpacked(commit, "commit"))
    known = names_in(commit)
    of_package = {name for name in known if name.startswith(f"{PACKAGE}/")}
    for distribution, expected in ((wheel, of_package), (sdist, known - OF_GIT)):
        problems = unlike(names_in(distribution), expected)
        size = f"{len(expected)} files, {distribution.stat().st_size / 1e6:.1f} MB"
        checks.add(f"{distribution.name} is whole, with nothing else in it", problems, size)
    sources = unpacked(sdist, "sources")
    shutil.rmtree(sources / PACKAGE)
    for name, distribution in (("wheel", wheel), ("sdist", sdist)):
        say(f"installing the {name} into an empty environment")
        programs = environment(name, distribution)
        checks.add(f"the {name}'s own package is imported", installed_problems(programs, sources))
        say(f"the demo, from the {name}")
        checks.add(f"the demo runs from the {name}", demo_problems(programs, sources / DEMO))
    say("the fast tests, on the installed wheel")
    checks.add("the fast tests pass", *run_tests(BUILD / "wheel" / "bin", sources, chosen.tests))
    print(f"{len(checks.failed)} checks failed" if checks.failed else f"to release: {wheel.parent}")
    return int(bool(checks.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
