"""u and w of PyTorch's nested form, which `python -m benchmarks.torch_golden` wrote."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import l2rw_tf
from tests.reweighting import zoo
from tests.reweighting.look_ahead import look_ahead


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).with_name("golden_torch.npz")) as file:
        return dict(file)


def network_and_batches(golden):
    """The same network, batch and clean batch, in the precision that Keras is set to."""
    network = keras.Sequential(
        [
            keras.Input(golden["x"].shape[1:]),
            keras.layers.Dense(len(golden["hidden_bias"]), "tanh"),
            keras.layers.Dense(len(golden["output_bias"])),
        ]
    )
    names = ("hidden_kernel", "hidden_bias", "output_kernel", "output_bias")
    network.set_weights([golden[name] for name in names])
    batches = [(golden["x"], golden["y"]), (golden["x_clean"], golden["y_clean"])]
    return network, *[(x.astype(keras.config.floatx()), y) for x, y in batches]


def check(golden, method, tolerance):
    network, batch, clean_batch = network_and_batches(golden)
    # A loss computes in the precision that Keras was set to when it was made.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    u = l2rw_tf.meta_gradient(network, loss, batch, clean_batch, method=method)
    np.testing.assert_allclose(u, golden["u"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(l2rw_tf.normalize(u), golden["w"], rtol=0, atol=tolerance)

    model = l2rw_tf.ReweightingModel(network, meta_gradient=method)
    model.compile("sgd", loss)
    w = model.example_weights(*batch, clean_data=clean_batch)
    # The public weights are float32 whatever the network computes in.
    np.testing.assert_allclose(w, golden["w"], rtol=0, atol=max(tolerance, 1e-7))


def test_the_values_mean_something(golden):
    """Both signs of u, several positive weights, and w is what the paper makes of u."""
    positive = np.maximum(golden["u"], 0)
    assert 3 <= np.count_nonzero(positive) <= len(positive) - 3
    np.testing.assert_allclose(golden["w"], positive / positive.sum(), rtol=1e-15)


def test_the_look_ahead_of_the_tests(golden, float64):
    network, batch, clean_batch = network_and_batches(golden)
    u = look_ahead(network, zoo.softmax_by_hand, batch, clean_batch)
    np.testing.assert_allclose(u, golden["u"], rtol=0, atol=1e-14)


@pytest.mark.parametrize(("method", "tolerance"), [("nested", 1e-14), ("finite_difference", 1e-7)])
def test_double_precision(golden, method, tolerance, float64):
    check(golden, method, tolerance)


@pytest.mark.parametrize(("method", "tolerance"), [("nested", 3e-7), ("finite_difference", 5e-4)])
def test_single_precision(golden, method, tolerance):
    check(golden, method, tolerance)
