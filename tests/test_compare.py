from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2rw_tf import compare
from l2rw_tf.comparison import jobs
from l2rw_tf.runs import lock, results, tables

ROOT = Path(__file__).parents[1]
SMALL = [
    "--methods=plain",
    "--seeds=0,1",
    "--network=mlp",
    "--epochs=1",
    "--batch_size=200",
    "--notensorboard",
    "--compare_dir=c",
]


def _start(tmp_path, *flags):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "l2rw_tf.compare", *SMALL, *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_until(process, text):
    """Reads lines of output up to the one with the text."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not printed: {process.stderr.read()}")


def _processes_in(directory):
    """The processes that were started there: runs that a comparison left behind."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve() == directory.resolve():
                found.append((process / "cmdline").read_bytes())
    return found


def _wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.process
def test_a_comparison_that_is_killed_goes_on_where_it_was(tmp_path):
    """Its finished run is kept and the other one, which ends with it, is resumed."""
    done, begun = (
        tmp_path / "c" / "runs" / f"plain-learning_rate=0.02-seed={seed}" for seed in (0, 1)
    )
    with _start(tmp_path, "--epochs=50") as process:
        _read_until(process, "[1/2] plain, seed 0: test")
        _wait_for(lambda: list(begun.glob("checkpoints/step-*")))
        process.kill()
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    assert "results.json" in before and not (begun / "results.json").exists()
    _wait_for(lambda: not _processes_in(tmp_path))

    process = _start(tmp_path, "--epochs=50", "--keep_checkpoints=1")
    printed, complaints = process.communicate(timeout=300)
    assert (process.returncode, complaints) == (0, "")
    lines = [line for line in printed.splitlines() if line.startswith("[")]
    assert [line[: line.index(":")] for line in lines] == [
        "[1/2] plain, seed 0",
        "[2/2] plain, seed 1",
    ]
    assert "kept" in lines[0] and "kept" not in lines[1]
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before
    log = (tmp_path / "c" / "logs" / f"{begun.name}.log").read_text(encoding="utf-8")
    assert "from step" in log
    assert [row["epoch"] for row in tables.read_metrics(begun)] == list(range(1, 51))
    with (tmp_path / "c" / "results.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    mean = sum(results.read(directory).test_accuracy for directory in (done, begun)) / 2
    assert float(row["test_accuracy_mean"]) == pytest.approx(mean)
    assert row["command"].startswith("python -m l2rw_tf.compare " + " ".join(SMALL))


@pytest.mark.process
def test_ctrl_c_ends_the_runs_too_and_gives_code_3(tmp_path):
    process = _start(tmp_path)
    _read_until(process, "2 runs")
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 3
    assert complaints.startswith("l2rw: stopped by SIGINT: ") and complaints.count("\n") == 1
    assert not _processes_in(tmp_path)
    assert not list(tmp_path.rglob("results.json"))


def test_a_directory_in_use_is_refused(tmp_path, monkeypatch, capsys):
    """By another comparison, or by a run that one left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "_SECONDS_TO_STOP", 0.0)
    for name in ("c", "c/runs/plain-learning_rate=0.02-seed=1"):
        Path(name).mkdir(parents=True)
        with lock.hold(Path(name)):
            assert compare.main(SMALL) == 2
        complaint = capsys.readouterr().err
        assert f"{name} is in use" in complaint and complaint.count("\n") == 1


def test_nothing_needs_what_windows_lacks():
    code = (
        "import sys; sys.modules['fcntl'] = None; "
        "from l2rw_tf import audit, compare, main; from l2rw_tf.comparison import comparison, jobs"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--methods=plan"], "did you mean plain?"),
        (["--method_s=plain"], "--methods"),
        (["stray"], "'stray' is not a flag"),
        (["--compare_dir=/proc/nowhere"], "compare_dir=/proc/nowhere cannot be created"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_unusable_flags_end_with_code_2_and_one_line(arguments, part, capsys):
    assert compare.main(arguments) == 2
    printed, complaint = capsys.readouterr()
    assert complaint.startswith("l2rw: ") and part in complaint and complaint.count("\n") == 1


@pytest.mark.process
def test_help_loads_nothing_heavy():
    code = (
        "import sys; from l2rw_tf import compare; done = compare.main(['--help']);"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or done)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
