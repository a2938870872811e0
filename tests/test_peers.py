"""The benchmark's peers compute what the project computes."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import l2rw_tf
from benchmarks import keras_steps, peer_keras, peer_process, peers

CLEAN = 10


@pytest.fixture(scope="module")
def steps_of_the_project(tmp_path_factory):
    """The project's LeNet, u at the start and after two steps, and the file of the start."""
    start = tmp_path_factory.mktemp("peers") / "start.npz"
    network, shape = keras_steps.build("lenet")
    peer_keras.write_start(network, start)
    (x, y), (x_clean, y_clean) = (
        next(iter(keras_steps.one_batch(size, shape, True, seed)))
        for size, seed in ((peer_keras.BATCH, 0), (CLEAN, 1))
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = l2rw_tf.ReweightingModel(network)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss)
    before = l2rw_tf.meta_gradient(network, loss, (x, y), (x_clean, y_clean)).numpy()
    data = keras_steps.one_batch(peer_keras.BATCH, shape, True, seed=0)
    model.fit(data, clean_data=(x_clean, y_clean), steps_per_epoch=2, verbose=0)
    after = l2rw_tf.meta_gradient(network, loss, (x, y), (x_clean, y_clean)).numpy()
    return str(start), before, after


def check(steps, before, after):
    # `check` takes a step after it has looked.
    for expected in (before, None, after):
        found = np.array(steps.check())
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * abs(expected).max())


# PyTorch's forward mode uses what PyTorch has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("form", ["nested", "forward", "forward_apart"])
def test_pytorch_computes_the_same(form, steps_of_the_project):
    pytest.importorskip("torch")
    from benchmarks import peer_torch

    start, before, after = steps_of_the_project
    check(peer_torch.Steps("lenet", form, CLEAN, start), before, after)


def test_jax_computes_the_same(steps_of_the_project):
    pytest.importorskip("jax")
    from benchmarks import peer_jax

    start, before, after = steps_of_the_project
    check(peer_jax.Steps("lenet", "forward", CLEAN, start), before, after)


def test_two_steps_change_u_by_more_than_the_tolerance(steps_of_the_project):
    _, before, after = steps_of_the_project
    assert abs(after - before).max() > 10 * peers.TOLERANCE * abs(before).max()


def test_a_step_that_computes_something_else_is_refused():
    own, other = (peers.Row(name, "", "", CLEAN) for name in ("own", "other"))
    u = np.linspace(-1, 1, 5)
    assert peers.difference({own: u, other: u * (1 + 1e-4)}, other) == pytest.approx(1e-4)
    for wrong in (u * 1.01, u * np.nan):
        with pytest.raises(RuntimeError, match="other, clean 10 computes something else"):
            peers.difference({own: u, other: wrong}, other)


@pytest.mark.process
def test_the_peak_is_not_that_of_the_process_that_started_this_one():
    # 300 MB, written to, in the parent alone.
    child = "from benchmarks.peer_process import peak_resident; print(peak_resident())"
    parent = f"""
import subprocess, sys
taken = bytearray(b"1") * 300_000_000
print(subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    assert 1 < float(done.stdout) < 100
    assert peer_process.peak_resident() > 100
