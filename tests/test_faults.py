"""What happens to a run when the disk, its directory or its data fail it, each for real."""

from __future__ import annotations

import contextlib
import ctypes
import resource

import numpy as np
import pytest

from benchmarks import kill_test
from l2rw_tf import main
from l2rw_tf.runs.resume.checkpoints import Checkpoints
from tests import moments

_LINUX_CAPABILITY_VERSION_3, _CAP_DAC_OVERRIDE = 0x20080522, 1


@contextlib.contextmanager
def disk_becomes_full(directory, kind):
    """From a moment on, files above 20 kB cannot be written, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with moments.happening(directory, kind, 1, limit):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def directory_becomes_read_only(directory):
    """From the second step on, nothing in the directory can be written."""
    may_override = _may_write_where_others_may_not()

    def forbid():
        for path in [directory, *directory.rglob("*/")]:
            path.chmod(0o555)
        _may_write_where_others_may_not(False)

    try:
        with moments.happening(directory, "step", 2, forbid):
            yield
    finally:
        _may_write_where_others_may_not(may_override)
        for path in [directory, *directory.rglob("*/")]:
            path.chmod(0o755)


def _may_write_where_others_may_not(allowed=None):
    """Tells whether this thread may, as the super-user's do; gives or takes the right."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, rights) == 0
    before = bool(rights[0] >> _CAP_DAC_OVERRIDE & 1)
    if allowed is not None and allowed != before:
        rights[0] ^= 1 << _CAP_DAC_OVERRIDE
        assert libc.capset(header, rights) == 0
    return before


@pytest.fixture
def flags(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = random.normal(size=(300, 3)) + 2 * np.eye(3)[y]
    rows = [",".join(map(str, [*row, label])) for row, label in zip(x, y, strict=True)]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["a,b,c,label", *rows, ""]), encoding="utf-8")
    # Deterministic operations are switched on for the whole process, which other tests share.
    return [
        f"--dataset={file}",
        "--method=plain",
        "--epochs=4",
        "--deterministic=false",
        "--progress=none",
    ]


@pytest.mark.slow
def test_faults_leave_the_last_checkpoint_and_one_line(flags, tmp_path, capsys):
    directory, table = tmp_path / "run", tmp_path / "table.csv"

    def failure(steps):
        """Runs up to a fault; returns the line that is printed."""
        assert main.main([*flags, "--resume", f"--run_dir={directory}"]) == 1
        complaint = capsys.readouterr().err
        assert complaint.startswith("l2rw: ") and complaint.count("\n") == 1
        checkpoints = Checkpoints(directory / "checkpoints", keep=2)
        found, damaged = checkpoints.newest(), checkpoints.damaged
        assert (found.step, damaged) == (steps, [])
        return complaint

    # An epoch has 2 steps; the limit comes when the first checkpoint is written.
    with disk_becomes_full(directory, "open checkpoints/.unfinished-checkpoint/SHA256SUMS"):
        line = failure(2)
    assert line == f"l2rw: {directory}/checkpoints/step-0000000004: File too large.\n"
    assert _unfinished(directory) == []

    with directory_becomes_read_only(directory):
        line = failure(2)
    assert line == f"l2rw: {directory}/metrics.csv: Permission denied.\n"

    content = table.read_bytes()
    table.write_bytes(content[: len(content) - 12])
    line = failure(2)
    assert f"{table}, line 301: " in line and line.endswith(f"{directory} is unchanged.\n")
    table.write_bytes(content)

    with disk_becomes_full(directory, "open .unfinished-model.keras"):
        line = failure(8)
    assert line.startswith(f"l2rw: {directory}/model.keras: ")
    assert _unfinished(directory) == [] and not (directory / "model.keras").exists()

    assert main.main(["--resume", f"--run_dir={directory}"]) == 0
    assert capsys.readouterr().err == ""
    assert main.main([*flags, f"--run_dir={tmp_path / 'undisturbed'}"]) == 0
    assert kill_test.outcome(directory) == kill_test.outcome(tmp_path / "undisturbed")


def _unfinished(directory):
    return [path for path in directory.rglob("*") if "unfinished" in path.name]
