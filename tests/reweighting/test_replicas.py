"""Several devices and workers give what one device gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.reweighting.feeding.shards import part_of_batch
from tests import workers
from tests.reweighting.replica_runs import CASES, STEPS

RUNS = "tests.reweighting.replica_runs"


def assert_same(found, case):
    """The weights of every step, and the parameters, the record and the logs after all of them."""
    one, several = (
        {
            name.removeprefix(f"{where}/{case}/"): value
            for name, value in found.items()
            if name.startswith(f"{where}/{case}/")
        }
        for where in ("one", "several")
    )
    assert one.keys() == several.keys()
    assert len(one["weights"]) == STEPS and {"variable 0", "record mean_u", "log loss"} <= set(one)
    np.testing.assert_allclose(several["weights"], one["weights"], atol=1e-5, rtol=0)
    for name, value in one.items():
        scale = np.nanmax(np.abs(value))
        np.testing.assert_allclose(
            several[name], value, atol=1e-4 * scale, rtol=0, err_msg=f"{case}: {name}"
        )


@pytest.mark.process
@pytest.mark.parametrize(
    ("devices", "cases"),
    [
        (
            2,
            [
                "head, smaller last batch",
                "forward, smaller last batch",
                "meta-weight-net",
                "every third step",
            ],
        ),
        (4, ["exact, smaller last batch"]),
    ],
)
def test_mirrored_devices_give_what_one_gives(devices, cases, tmp_path):
    """With synchronized batch normalization, weight decay, clipping and momentum."""
    command = [sys.executable, "-m", RUNS, str(tmp_path / "found.npz"), str(devices), *cases]
    done = subprocess.run(command, cwd=workers.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        found = dict(found)
    for case in cases:
        assert_same(found, case)
    if devices == 2:
        for mistake, message in {
            "network outside": "network was not created in the scope",
            "optimizer outside": "optimizer was not created in the scope",
            "jit_compile": "jit_compile=True cannot be used",
            "distributed data": "distributed already",
        }.items():
            assert message in str(found[f"mistakes/{mistake}"])


@pytest.mark.process
def test_two_workers_give_what_one_device_gives(tmp_path):
    """Each of two processes ends with the same parameters, record and logs."""
    case = "exact, smaller last batch"
    assert case in CASES
    outs = [tmp_path / f"{index}.npz" for index in range(2)]
    commands = [["-m", RUNS, str(out), "workers", case] for out in outs]
    with workers.running(commands, tmp_path) as processes:
        for index, process in enumerate(processes):
            assert process.wait(timeout=300) == 0, (tmp_path / f"{index}.err").read_text()
    for out in outs:
        with np.load(out) as found:
            assert_same(dict(found), case)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [0, 1, 5, 7, 15])
def test_a_batch_is_divided_as_evenly_as_can_be(size, count):
    """Dense, ragged and sparse; the parts put together are the batch, in its order."""
    dense = tf.reshape(tf.range(2 * size), [size, 2])
    ragged = tf.RaggedTensor.from_row_lengths(
        tf.range(size * (size - 1) // 2), tf.range(size, dtype=tf.int64)
    )
    batch = {"dense": dense, "others": (ragged, tf.sparse.from_dense(dense), None)}
    parts = [part_of_batch(batch, replica, count) for replica in range(count)]
    sizes = [part["dense"].shape[0] for part in parts]
    assert sizes == sorted(sizes, reverse=True) and max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.concatenate([part["dense"] for part in parts]), dense)
    assert sum((part["others"][0].to_list() for part in parts), []) == ragged.to_list()
    sparse = [tf.sparse.to_dense(part["others"][1]) for part in parts]
    np.testing.assert_array_equal(np.concatenate(sparse), dense)
    assert all(part["others"][2] is None for part in parts)
