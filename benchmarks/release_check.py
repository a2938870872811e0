"""Builds a release and tests it as users get it: `make release-check`.

Wheel and sdist are built from the last commit and must contain its files and nothing else. Each is
installed into an empty environment with the versions of requirements.txt, where the demo runs in an
empty folder. The fast tests run on the installed wheel, which replaces the package in the sources,
since some tests read its files.
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
# Useful in a checkout only.
OF_GIT = {".gitignore", ".ci/run"}
# Written by setuptools.
MADE = ("PKG-INFO", "setup.cfg", f"{PACKAGE}.egg-info/", f"{PACKAGE}-")
MINUTES = 60
# PYTHONPATH could hide the installed package.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


class Checks:
    """Prints each check as soon as it is done, and collects the failed ones."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def add(self, name: str, problems: Sequence[str], found: str = "") -> None:
        """Adds a check: prints its line, and one line per problem."""
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
    """Unpacks an archive that contains one folder, and returns the path of this folder."""
    place = BUILD / folder
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(place, filter="data")
    (inner,) = place.iterdir()
    return inner


def committed() -> Path:
    """Returns an archive of the last commit; a checkout may contain files of earlier builds."""
    BUILD.mkdir(parents=True, exist_ok=True)
    archive = BUILD / "commit.tar"
    git("archive", "--prefix=commit/", f"--output={archive}", "HEAD")
    return archive


def names_in(distribution: Path) -> set[str]:
    """Returns the files in a wheel or archive; for an archive, relative to its top folder."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return set(wheel.namelist())
    with tarfile.open(distribution) as archive:
        return {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}


def unlike(found: Iterable[str], expected: set[str]) -> list[str]:
    """Returns problems: unexpected files that setuptools did not make, and missing files."""
    found = {name for name in found if name in expected or not name.startswith(MADE)}
    surplus = [f"unexpected: {name}" for name in sorted(found - expected)]
    return surplus + [f"missing: {name}" for name in sorted(expected - found)]


def build(sources: Path) -> tuple[Path, Path]:
    """Builds the sdist, and the wheel from the sdist; returns the paths of wheel and sdist."""
    uv("build", "--clear", f"--out-dir={BUILD / 'dist'}", sources)
    (wheel,), (sdist,) = (BUILD / "dist").glob("*.whl"), (BUILD / "dist").glob("*.tar.gz")
    return wheel, sdist


def environment(name: str, distribution: Path) -> Path:
    """Creates an environment with a distribution and its requirements; returns its `bin` folder."""
    folder = BUILD / name
    uv("venv", "--clear", f"--python={sys.executable}", folder)
    uv("pip", "install", f"--python={folder}", "--constraints=requirements.txt", distribution)
    return folder / "bin"


def installed_problems(programs: Path, cwd: Path) -> list[str]:
    """Returns problems if the imported package is not the installed one, or has another version."""
    code = (
        "import importlib.metadata, json, l2rw_tf; print(json.dumps("
        "[l2rw_tf.__file__, l2rw_tf.__version__, importlib.metadata.version('l2rw-tf')]))"
    )
    command = [programs / "python", "-c", code]
    answer = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, check=True, capture_output=True)
    file, version, of_metadata = json.loads(answer.stdout)
    problems = [] if Path(file).is_relative_to(programs.parent) else [f"{file} is imported"]
    if version != of_metadata:
        problems.append(f"__version__ is {version}, but the metadata has {of_metadata}")
    return problems


def demo_problems(programs: Path, flagfile: Path) -> list[str]:
    """Runs the demo in an empty folder with the installed command; returns problems."""
    with tempfile.TemporaryDirectory() as folder:
        command = [programs / "l2rw", "train", f"--flagfile={flagfile}", "--run_dir=demo"]
        code = subprocess.run(command, cwd=folder, env=ENVIRONMENT).returncode
        written = ("results.json", "report.html", "model.keras")
        missing = [name for name in written if not (Path(folder) / "demo" / name).exists()]
    return ([f"exit code {code}"] if code else []) + [f"not written: {name}" for name in missing]


def run_tests(programs: Path, sources: Path, flags: Sequence[str]) -> tuple[list[str], str]:
    """Runs the fast tests on the installed package; returns problems, and a line of counts."""
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
    """Makes all checks; returns 1 if one failed."""
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
        checks.add(f"{distribution.name} is complete and has nothing else in it", problems, size)
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
