from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l2rw_tf import __main__ as commands
from l2rw_tf import compare

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


def _start(tmp_path):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "l2rw_tf.compare", *SMALL],
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


def test_a_comparison_that_is_killed_goes_on_where_it_was(tmp_path):
    with _start(tmp_path) as process:
        _read_until(process, "[1/2] plain, seed 0: test")
        process.kill()
    done = tmp_path / "c" / "runs" / "plain-learning_rate=0.02-seed=0"
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    assert "results.json" in before

    process = _start(tmp_path)
    printed, complaints = process.communicate(timeout=300)
    assert (process.returncode, complaints) == (0, "")
    lines = [line for line in printed.splitlines() if line.startswith("[")]
    assert [line[: line.index(":")] for line in lines] == [
        "[1/2] plain, seed 0",
        "[2/2] plain, seed 1",
    ]
    assert "kept" in lines[0] and "kept" not in lines[1]
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before
    with (tmp_path / "c" / "results.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    results = [
        json.loads((done.with_name(f"{done.name[:-1]}{seed}") / "results.json").read_bytes())
        for seed in (0, 1)
    ]
    mean = sum(result["test_accuracy"] for result in results) / 2
    assert float(row["test_accuracy_mean"]) == pytest.approx(mean)
    assert row["command"] == "python -m l2rw_tf.compare " + " ".join(SMALL)


def test_ctrl_c_ends_the_runs_too_and_gives_code_3(tmp_path):
    process = _start(tmp_path)
    _read_until(process, "2 runs")
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 3
    assert complaints == (
        "l2rw: stopped by SIGINT: finished runs are kept, the same command goes on from there.\n"
    )
    # The lock would be held by a run that goes on.
    import fcntl

    with (tmp_path / "c" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_directory_in_use_is_refused(tmp_path, monkeypatch, capsys):
    import fcntl

    from l2rw_tf.comparison import jobs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "_SECONDS_FOR_THE_LOCK", 0.0)
    (tmp_path / "c").mkdir()
    with (tmp_path / "c" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert compare.main(SMALL) == 2
    complaint = capsys.readouterr().err
    assert "compare_dir=c is in use" in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--methods=plan"], "did you mean plain?"),
        (["--method_s=plain"], "--methods"),
        (["stray"], "'stray' is not a flag"),
        (["--compare_dir=/proc/nowhere"], "compare_dir=/proc/nowhere cannot be made"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_unusable_flags_end_with_code_2_and_one_line(arguments, part, capsys):
    assert compare.main(arguments) == 2
    printed, complaint = capsys.readouterr()
    assert complaint.startswith("l2rw: ") and part in complaint and complaint.count("\n") == 1


def test_help_shows_the_flags_of_runs_too(capsys):
    assert commands.main(["compare", "--help"]) == 0
    shown = capsys.readouterr().out
    for part in ("--methods=", "--sweep=", "--learning_rates=", "--noise_ratio=", "Comparison:"):
        assert part in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from l2rw_tf import compare; done = compare.main(['--help']);"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or done)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
