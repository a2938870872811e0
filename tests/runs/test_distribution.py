from __future__ import annotations

import json
import time

import pytest

from l2rw_tf.errors import UsageError
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.distribution import Worker, this_worker
from tests import workers

TWO = ["a:1", "b:2"]


def _environment(cluster, kind, index):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (_environment({"worker": TWO}, "worker", 0), Worker(("a:1", "b:2"), 0)),
        (_environment({"worker": TWO}, "worker", 1), Worker(("a:1", "b:2"), 1)),
        (_environment({"chief": ["c:3"], "worker": TWO}, "chief", 0), Worker(("c:3", *TWO), 0)),
        (_environment({"chief": ["c:3"], "worker": TWO}, "worker", 0), Worker(("c:3", *TWO), 1)),
    ],
)
def test_the_place_of_a_worker(environment, expected):
    found = this_worker("multi_worker", environment)
    assert found == expected and found.is_chief == (expected.index == 0)
    assert this_worker("none", environment) == this_worker("mirrored", environment) == Worker()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_tf_config_that_cannot_be_used(text):
    with pytest.raises(UsageError, match="TF_CONFIG"):
        this_worker("multi_worker", {"TF_CONFIG": text})


@pytest.mark.parametrize(
    "flags",
    [{"jit_compile": "true"}, {"clipnorm": 1.0, "dtype_policy": "mixed_float16"}],
    ids=str,
)
def test_flags_that_do_not_go_with_several_devices(flags):
    RunConfig(**flags)
    with pytest.raises(UsageError, match="distribution=mirrored"):
        RunConfig(**flags, distribution="mirrored")


@pytest.mark.process
def test_a_lost_worker_ends_the_others_and_all_resume(tmp_path):
    """Of two processes of the program one is killed; only the first writes."""
    run_dir, homes = tmp_path / "run", [tmp_path / "0", tmp_path / "1"]
    flags = ["-m", "l2rw_tf.main", f"--run_dir={run_dir}", "--distribution=multi_worker"]
    new = ["--network=mlp", "--epochs=8", "--notensorboard", "--progress=none"]
    for home in homes:
        home.mkdir()
    with workers.running([[*flags, *new]] * 2, homes[0]) as (first, second):
        while not list(run_dir.glob("checkpoints/step-*")):
            assert first.poll() is None, (homes[0] / "0.err").read_text()
            time.sleep(0.1)
        second.kill()
        assert first.wait(timeout=60) == 1
    complaint = (homes[0] / "0.err").read_text().splitlines()
    assert len(complaint) == 1 and "The connection to another worker" in complaint[0]
    with workers.running([[*flags, "--resume"]] * 2, homes[1]) as processes:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert "resuming from step" in (homes[1] / "0.out").read_text()
    assert (homes[1] / "1.out").read_text().startswith("waiting for the other workers")
    assert len((homes[1] / "1.out").read_text().splitlines()) == 1
    epochs = [line.split(",")[1] for line in (run_dir / "metrics.csv").read_text().splitlines()]
    assert epochs == ["epoch", *map(str, range(1, 9))]
    assert (run_dir / "results.json").exists()
