"""What happens to a run when the disk, its directory or its data fail it, each for real."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import kill_test
from l2rw_tf.runs.resume.checkpoints import Checkpoints

# Files above 20 kB cannot be written any more, as if the disk were full.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
# The super-user may write where others may not, until CAP_DAC_OVERRIDE is taken away.
READ_ONLY = """
import ctypes, pathlib
for path in [directory, *pathlib.Path(directory).rglob("*/")]:
    os.chmod(path, 0o555)
header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
ctypes.CDLL(None).capget(header, rights)
rights[0] &= ~(1 << 1)
ctypes.CDLL(None).capset(header, rights)
"""


@pytest.fixture
def flags(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = random.normal(size=(300, 3)) + 2 * np.eye(3)[y]
    rows = [",".join(map(str, [*row, label])) for row, label in zip(x, y, strict=True)]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["a,b,c,label", *rows, ""]), encoding="utf-8")
    return [f"--dataset={file}", "--method=plain", "--epochs=4", "--progress=none"]


def test_faults_leave_the_last_checkpoint_and_one_line(flags, tmp_path):
    def fail(number, kind, action, steps):
        """Runs up to a fault; returns the line that is printed."""
        ended = kill_test.run(directory, [*flags, "--resume"], number, kind, action)
        assert ended.returncode == 1, ended.stderr
        assert ended.stderr.startswith("l2rw: ") and ended.stderr.count("\n") == 1
        found, damaged = Checkpoints(directory / "checkpoints", keep=2).newest()
        assert (found.step, damaged) == (steps, [])
        for path in [directory, *directory.rglob("*/")]:
            path.chmod(0o755)
        return ended.stderr

    directory, table = tmp_path / "run", tmp_path / "table.csv"
    # An epoch has 2 steps; the limit comes when the first checkpoint is written.
    line = fail(1, "open checkpoints/.unfinished-checkpoint/SHA256SUMS", FULL, 2)
    assert line == f"l2rw: {directory}/checkpoints/step-0000000004: File too large.\n"
    assert _unfinished(directory) == []

    line = fail(2, "step", READ_ONLY, 2)
    assert line == f"l2rw: {directory}/metrics.csv: Permission denied.\n"

    content = table.read_bytes()
    table.write_bytes(content[: len(content) - 12])
    line = fail(0, "", "", 2)
    assert f"{table}, line 301: " in line and line.endswith(f"{directory} is as it was.\n")

    table.write_bytes(content)

    line = fail(1, "open .unfinished-model.keras", FULL, 8)
    assert line.startswith(f"l2rw: {directory}/model.keras: ")
    assert _unfinished(directory) == [] and not (directory / "model.keras").exists()

    ended = kill_test.run(directory, ["--resume"])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert kill_test.run(tmp_path / "undisturbed", flags).returncode == 0
    assert kill_test.outcome(directory) == kill_test.outcome(tmp_path / "undisturbed")


def _unfinished(directory):
    return [path for path in directory.rglob("*") if "unfinished" in path.name]
