from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l2rw_tf import __main__ as commands
from l2rw_tf import main
from l2rw_tf.command_line import environment, program
from l2rw_tf.errors import DataUnavailable, TrainingDiverged
from l2rw_tf.runs import run

ROOT = Path(__file__).parents[1]
SMALL = [
    "--network=mlp",
    "--noise_type=pair",
    "--noise_ratio=0.3",
    "--epochs=2",
    "--batch_size=200",
    "--learning_rate=0.01",
    "--name=small",
    "--seed=7",
]


def _run(*arguments, cwd, **options):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _finish(process):
    printed, complaints = process.communicate(timeout=300)
    return process.returncode, printed, complaints


def _metrics(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def _numbers(row):
    cells = {name: cell for name, cell in row.items() if name not in ("method", "phase")}
    return {name: float(cell) for name, cell in cells.items() if cell}


@pytest.mark.process
def test_a_run_its_repetition_and_its_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "--with_plain", "--deterministic=false"]
    code, printed, complaints = _finish(_run("-m", "l2rw_tf.main", *arguments, cwd=tmp_path))
    assert (code, complaints) == (0, "")
    first = tmp_path / "runs" / "small-seed7"
    *_, where, better = printed.splitlines()
    assert where.startswith("results: runs/small-seed7; ") and "suspected label" in where
    assert " on 360 test examples" in better
    results = json.loads((first / "results.json").read_text(encoding="utf-8"))
    assert (results["dataset"], results["plain"]["method"]) == ("digits", "plain")

    assert commands.main(["train", f"--flagfile={first / 'config.cfg'}"]) == 0
    assert capsys.readouterr().err == ""
    second = tmp_path / "runs" / "small-seed7-2"
    assert (second / "config.cfg").read_bytes() == (first / "config.cfg").read_bytes()
    # Without deterministic operations the last digits of two processes may differ.
    for one, other in zip(
        _metrics(second / "metrics.csv"), _metrics(first / "metrics.csv"), strict=True
    ):
        assert one.keys() == other.keys()
        assert _numbers(one) == pytest.approx(_numbers(other), rel=1e-3)

    # The network is Keras's alone: this process cannot import the package.
    code, printed, _ = _finish(
        _run(
            "-c",
            "import sys; sys.modules['l2rw_tf'] = None; import keras;"
            f"print(keras.saving.load_model({str(first / 'model.keras')!r}).count_params())",
            cwd=tmp_path,
        )
    )
    assert int(printed) == results["parameters"]


@pytest.mark.process
def test_a_signal_ends_a_run_with_code_3(tmp_path):
    process = _run("-u", "-m", "l2rw_tf.main", *SMALL, "--epochs=100000", cwd=tmp_path)
    for line in process.stdout:
        if "epoch" in line:
            break
    process.send_signal(signal.SIGTERM)
    code, _, complaints = _finish(process)
    saved = r"runs/small-seed7/checkpoints/step-\d+: --resume --run_dir=runs/small-seed7 resumes it"
    assert code == 3 and complaints.count("\n") == 1
    assert re.match(f"l2rw: stopped by SIGTERM: The run is saved in {saved}", complaints)
    assert not (tmp_path / "runs" / "small-seed7" / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--epoch=3"], ["--epoch ", "--epochs"]),
        (["--epochs=0"], ["epochs", "at least 1"]),
        (["stray"], ["stray"]),
        (["--flagfile=missing.cfg"], ["missing.cfg"]),
        (["--network=lanet"], ["lanet", "lenet", "mlp"]),
        (["--network=resnet33"], ["resnet33", "6n+2"]),
        (["--run_dir=."], ["run_dir=.", "holds files already"]),
    ],
    ids=" ".join,
)
def test_unusable_flags_end_with_code_2_and_one_line(arguments, parts, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert main.main(arguments) == 2
    printed, complaint = capsys.readouterr()
    assert printed == "" and complaint.startswith("l2rw: ") and complaint.count("\n") == 1
    for part in parts:
        assert part in complaint


@pytest.mark.parametrize("backend", ["jax", "torch", "nonsense"])
def test_another_backend_is_refused(backend, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert main.main([]) == 2
    complaint = capsys.readouterr().err
    assert f"KERAS_BACKEND={backend}" in complaint and complaint.count("\n") == 1


class ResourceExhaustedError(Exception):
    """Stands for TensorFlow's error of that name."""


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (DataUnavailable("cifar10 is not here.\nFetch it."), 2, ["cifar10 is not here. Fetch it."]),
        (TrainingDiverged("NaN at step 7.", 7), 1, ["NaN at step 7."]),
        (OSError(28, "No space left on device", "a/b.csv"), 1, ["a/b.csv: No space left"]),
        (OSError("the wire is cut"), 1, ["the wire is cut"]),
        (MemoryError(), 1, ["out of memory", "batch_size"]),
        (ResourceExhaustedError("OOM\n" * 50), 1, ["out of memory", "batch_size"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_failures_end_with_one_line(error, code, parts, capsys, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(run, "run", fail)
    assert main.main([]) == code
    printed, complaint = capsys.readouterr()
    assert printed == "" and complaint.startswith("l2rw: ") and complaint.count("\n") == 1
    for part in parts:
        assert part in complaint


def test_a_mistake_of_the_program_itself_keeps_its_traceback(monkeypatch):
    def fail(*arguments):
        raise KeyError("a bug")

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(run, "run", fail)
    with pytest.raises(KeyError):
        main.main([])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("translated", [False, True])
def test_signals_end_with_code_3(number, translated, capsys, monkeypatch):
    def interrupted(*arguments):
        try:
            os.kill(os.getpid(), number)
        except program.Stopped:
            if translated:
                raise RuntimeError("from below") from None
            raise

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(run, "run", interrupted)
    before = signal.getsignal(number)
    assert main.main([]) == 3
    assert f"stopped by {signal.Signals(number).name}" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.process
def test_a_second_signal_ends_the_process_at_once(tmp_path):
    code = (
        "import os, signal\n"
        "from l2rw_tf import main\n"
        "from l2rw_tf.command_line import environment\n"
        "environment.prepare_tensorflow()\n"
        "from l2rw_tf.runs import run\n"
        "def stubborn(*arguments):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('still here')\n"
        "run.run = stubborn\n"
        "main.main([])\n"
    )
    assert _finish(_run("-c", code, cwd=tmp_path)) == (3, "", "")


@pytest.mark.process
def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from l2rw_tf import main; done = main.main(['--help']);"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or done)"
    )
    code, printed, complaints = _finish(_run("-c", code, cwd=tmp_path))
    assert (code, complaints) == (0, "")
    assert "usage: python -m l2rw_tf.main" in printed and "--noise_ratio=" in printed


def test_what_c_code_prints_is_shown_only_if_the_import_fails(capfd):
    with environment._quiet_standard_error():
        os.write(2, b"noise\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(ImportError), environment._quiet_standard_error():
        os.write(2, b"the reason\n")
        raise ImportError
    assert capfd.readouterr().err == "the reason\n"


def test_commands(capsys):
    assert commands.main(["train", "--help"]) == 0
    assert "--noise_ratio=" in capsys.readouterr().out
    assert commands.main(["--help"]) == 0
    assert re.search(r"^  train +\w", capsys.readouterr().out, re.MULTILINE)
    for arguments, found in (([], "got none"), (["dance"], "got 'dance'")):
        assert commands.main(arguments) == 2
        complaint = capsys.readouterr().err
        assert "train" in complaint and found in complaint and complaint.count("\n") == 1
