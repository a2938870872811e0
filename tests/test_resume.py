"""Runs that are stopped, killed and resumed, as processes of their own."""

from __future__ import annotations

import signal

import pytest

from benchmarks import kill_test
from l2rw_tf import main
from l2rw_tf.runs import lock
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.run_directory import RunDirectory

FLAGS = [
    "--network=mlp",
    "--noise_type=uniform",
    "--noise_ratio=0.4",
    "--early_stopping",
    "--epochs=2",
    "--batch_size=500",
    "--checkpoint_minutes=0.00001",
    "--progress=none",
]
TERMINATE = "os.kill(os.getpid(), signal.SIGTERM)"
DISTURBANCES = [
    # Within the first epoch, when there is a checkpoint of a step already.
    (2, "step", TERMINATE),
    # The arrays of a checkpoint are there and their sums are not.
    (3, "open checkpoints/.unfinished-checkpoint/progress.json", kill_test.KILL),
    # Between the new checkpoint and the end of the one that it replaces.
    (2, "os.rmdir checkpoints/step-", kill_test.KILL),
    # The network is there and the results are not.
    (1, "open .unfinished-results.json", kill_test.KILL),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    assert kill_test.run(directory, FLAGS).returncode == 0
    return directory


def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_been(undisturbed, tmp_path):
    directory = tmp_path / "run"
    flags = FLAGS  # Once the run is there, those that are not given are its own.
    for number, kind, action in DISTURBANCES:
        ended = kill_test.run(directory, [*flags, "--resume"], number, kind, action)
        assert f"moment: {kind}" in ended.stdout, ended.stderr
        if action == TERMINATE:
            assert ended.returncode == 3
            assert ended.stderr == (
                f"l2rw: stopped by SIGTERM: The run is saved in {directory}/checkpoints/"
                f"step-0000000002: --resume --run_dir={directory} resumes it.\n"
            )
        else:
            assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")
        assert not (directory / "results.json").exists()
        flags = []
    ended = kill_test.run(directory, ["--resume"])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert kill_test.outcome(directory) == kill_test.outcome(undisturbed)
    assert _names(directory) == _names(undisturbed)


def _names(directory):
    paths = (path.relative_to(directory) for path in directory.rglob("*"))
    return sorted(str(path) for path in paths if "tfevents" not in path.name)


def test_a_finished_run_is_left_as_it_is(undisturbed, capsys):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    assert main.main(["--resume", f"--run_dir={undisturbed}"]) == 0
    assert "holds a finished run: nothing is left to do" in capsys.readouterr().out
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
        (["--resume_learning_rate=0.1"], "needs resume"),
        (["--resume", "--run_dir=RUN", "--resume_learning_rate=0"], "must be above 0"),
        (["--run_dir=RUN"], "holds files already"),
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_together(begun, arguments, part, capsys):
    assert main.main([argument.replace("RUN", str(begun)) for argument in arguments]) == 2
    complaint = capsys.readouterr().err
    assert part in complaint and complaint.count("\n") == 1
