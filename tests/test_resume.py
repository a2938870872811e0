"""Runs that are stopped, killed and resumed."""

from __future__ import annotations

import functools
import os
import shutil
import signal

import pytest

from benchmarks import kill_test
from l2rw_tf import main
from l2rw_tf.runs import lock
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.run_directory import RunDirectory
from tests import moments

FLAGS = [
    "--network=mlp",
    "--noise_type=uniform",
    "--noise_ratio=0.4",
    "--early_stopping",
    "--epochs=2",
    "--batch_size=500",
    "--checkpoint_minutes=0.00001",
    # Deterministic operations are switched on for the whole process, which other tests share.
    "--deterministic=false",
    "--progress=none",
]
KILLS = [
    # The arrays of a checkpoint are there and their sums are not.
    (3, "open checkpoints/.unfinished-checkpoint/progress.json"),
    # Between the new checkpoint and the end of the one that it replaces.
    (2, "os.rmdir checkpoints/step-"),
    # The network is there and the results are not.
    (1, "open .unfinished-results.json"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main.main([*FLAGS, f"--run_dir={directory}"]) == 0
    return directory


@pytest.mark.slow
def test_a_run_that_is_stopped_and_killed_ends_as_if_nothing_had_been(
    undisturbed, tmp_path, capsys
):
    """Stopped within the first epoch, and killed in each run that resumes the one before.

    What a killed process leaves is what is on the disk at that moment: a copy of it is resumed.
    """
    directory = tmp_path / "run"
    capsys.readouterr()
    with moments.happening(directory, "step", 2, lambda: os.kill(os.getpid(), signal.SIGTERM)):
        assert main.main([*FLAGS, "--resume", f"--run_dir={directory}"]) == 3
    complaint = capsys.readouterr().err
    assert complaint.startswith("l2rw: stopped by SIGTERM: ") and complaint.count("\n") == 1
    assert f"{directory}/checkpoints/step-0000000002: --resume --run_dir={directory}" in complaint
    assert not (directory / "results.json").exists()

    for kill, (number, kind) in enumerate(KILLS):
        left = tmp_path / f"killed {kill}"
        copy = functools.partial(shutil.copytree, directory, left)
        with moments.happening(directory, kind, number, copy):
            _resume(directory, undisturbed, capsys)
        assert left.exists() and not (left / "results.json").exists()
        directory = left
    _resume(directory, undisturbed, capsys)


def _resume(directory, undisturbed, capsys):
    """Resumes a run and compares its end with that of the other."""
    # Once the run is there, the flags that are not given are its own.
    assert main.main(["--resume", f"--run_dir={directory}"]) == 0
    assert capsys.readouterr().err == ""
    assert kill_test.outcome(directory) == kill_test.outcome(undisturbed)
    assert _names(directory) == _names(undisturbed)


@pytest.mark.process
def test_a_run_that_is_really_killed_is_resumed(undisturbed, tmp_path, capsys):
    directory = tmp_path / "run"
    killed = kill_test.run(directory, FLAGS, 3, "step")
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert list(directory.glob("checkpoints/step-*"))
    capsys.readouterr()
    _resume(directory, undisturbed, capsys)


def _names(directory):
    paths = (path.relative_to(directory) for path in directory.rglob("*"))
    return sorted(str(path) for path in paths if "tfevents" not in path.name)


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(undisturbed, capsys):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    assert main.main(["--resume", f"--run_dir={undisturbed}"]) == 0
    assert "holds a finished run: there is nothing left to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before


@pytest.fixture
def begun(tmp_path):
    """The directory of a run that was begun with a learning rate of 0.5."""
    config = RunConfig(learning_rate=0.5, noise_type="pair", noise_ratio=0.2, clean_per_class=3)
    RunDirectory(tmp_path).write_flags(config.flag_lines())
    return tmp_path


def test_other_flags_are_refused_and_listed(begun, capsys):
    arguments = ["--resume", f"--run_dir={begun}", "--learning_rate=0.1", "--noclean_in_train"]
    assert main.main([*arguments, "--clipnorm=1", "--progress=none", "--tensorboard=false"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and "--resume_learning_rate" in complaint
    assert "learning_rate (0.5 there, 0.1 here), clipnorm (not given there, 1.0 here)." in complaint


def test_a_directory_in_use_is_refused(begun, capsys):
    with lock.hold(begun):
        assert main.main(["--resume", f"--run_dir={begun}"]) == 2
    complaint = capsys.readouterr().err
    assert f"{begun} is in use" in complaint and complaint.count("\n") == 1
    assert _names(begun) == [lock.NAME, "checkpoints", "checkpoints/flags.cfg"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--resume"], "resume needs run_dir"),
        (["--resume", "--run_dir=RUN-typo", "--progress=none"], "holds no run to resume; to start"),
        (["--resume_learning_rate=0.1"], "needs resume"),
        (["--resume", "--run_dir=RUN", "--resume_learning_rate=0"], "must be above 0"),
        (["--run_dir=RUN"], "holds a run already"),
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_together(begun, arguments, part, capsys):
    assert main.main([argument.replace("RUN", str(begun)) for argument in arguments]) == 2
    complaint = capsys.readouterr().err
    assert part in complaint and complaint.count("\n") == 1
