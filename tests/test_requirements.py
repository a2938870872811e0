"""The exact versions of requirements*.txt lie in the ranges of pyproject.toml, name by name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pinned(file: str) -> dict[str, Requirement]:
    """The requirements of a file, without those of the files that it includes."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    found = (Requirement(line) for line in lines if line and not line.startswith("-r"))
    return {one.name: one for one in found}


@pytest.mark.parametrize(
    "file, ranges",
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", EXTRAS["dev"]),
        ("requirements-bench.txt", EXTRAS["bench"]),
        ("requirements-docs.txt", EXTRAS["docs"]),
    ],
)
def test_exact_versions_are_within_the_ranges(file, ranges):
    allowed = {one.name: one for one in map(Requirement, ranges)}
    versions = pinned(file)
    assert versions.keys() == allowed.keys()
    for name, one in versions.items():
        (exact,) = one.specifier
        assert exact.operator == "==" and exact.version in allowed[name].specifier, name


def test_a_gpu_takes_the_same_tensorflow():
    (gpu,) = map(Requirement, EXTRAS["gpu"])
    (cpu,) = (one for one in map(Requirement, PROJECT["dependencies"]) if one.name == gpu.name)
    assert gpu.specifier == cpu.specifier and gpu.extras == {"and-cuda"}
