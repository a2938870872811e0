"""Networks with ways of their own: honoured or refused, never dropped."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import l2rw_tf
from l2rw_tf.errors import UsageError
from tests.equal_weights import Equal
from tests.reweighting.test_kinds_of_data import LOSS, X, Y, linear, trains_as_keras

pytestmark = pytest.mark.slow

CLEAN = X[:6], Y[:6]


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class OwnFit(Network):
    def fit(self, *args, **kwargs):
        return super().fit(*args, **kwargs)


class OwnTrainFunction(Network):
    def make_train_function(self, force=False):
        return super().make_train_function(force)


class OwnMetrics(Network):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {"largest": ops.max(y_pred)}


class OwnLoss(Network):
    def compute_loss(self, *args, **kwargs):
        return 2 * super().compute_loss(*args, **kwargs)


def replaced():
    network = linear()
    network.train_step = lambda data: {"loss": 0.0}
    return network


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (OwnFit, "fit"),
        (OwnTrainFunction, "make_train_function"),
        (OwnMetrics, "compute_metrics"),
        (OwnLoss, "compute_loss"),
        (replaced, "train_step"),
    ],
)
def test_methods_that_would_be_left_out_are_refused(make, method):
    with pytest.raises(UsageError, match=f"has its own {method}"):
        l2rw_tf.ReweightingModel(make())


class OwnPrediction(Network):
    def predict_step(self, data):
        return ops.softmax(super().predict_step(data))


def test_a_predict_step_of_its_own_is_what_predicts():
    network = OwnPrediction()
    model = l2rw_tf.ReweightingModel(network)
    expected = network.predict(X, verbose=0)
    np.testing.assert_allclose(expected.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-6)


class Watching(Network):
    def __init__(self):
        super().__init__()
        self._largest = keras.metrics.Mean(name="largest")
        self.of_parts = [keras.metrics.Sum(name="sum")]

    def call(self, x):
        out = super().call(x)
        self._largest.update_state(ops.max(out))
        self.of_parts[0].update_state(out)
        return out


def test_metrics_of_a_networks_own_are_logged_as_by_keras():
    """Updated by the training pass alone, not by clean examples a hundred times as large."""
    histories = []
    for make in (Watching, lambda: l2rw_tf.ReweightingModel(Watching(), weighting=Equal())):
        keras.utils.set_random_seed(0)
        model = make()
        model.compile("sgd", LOSS)
        more = {} if isinstance(model, Watching) else {"clean_data": (100 * X[:6], Y[:6])}
        fitted = model.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0, **more)
        histories.append(fitted.history)
    for name in ("largest", "sum", "loss"):
        np.testing.assert_allclose(*(one[name] for one in histories), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_functions_run_eagerly_may_look_at_numbers():
    class Looking(Network):
        def call(self, x):
            return super().call(x - x.numpy().mean(0))

    tf.config.run_functions_eagerly(True)
    try:
        trains_as_keras(Looking, (X, Y), CLEAN)
    finally:
        tf.config.run_functions_eagerly(False)


class Remat(layers.Layer):
    def build(self, shape):
        self.dense = layers.Dense(4, "tanh")
        self.dense.build(shape)

    def call(self, x):
        return keras.remat(self.dense)(x)


class InPython(layers.Layer):
    def call(self, x):
        return tf.ensure_shape(tf.py_function(tf.tanh, [x], tf.float32), x.shape)


class Lanczos(layers.Layer):
    def call(self, x):
        return tf.image.resize(x[:, None, :, None], (1, 4), "lanczos3")[:, 0, :, 0]


@pytest.mark.parametrize(
    ("layer", "operation"),
    [(Remat, "recompute_grad"), (InPython, "py_function"), (Lanczos, "ScaleAndTranslate")],
)
def test_the_way_out_of_what_has_no_second_derivative(layer, operation):
    def make():
        block = layer(name="block")
        return keras.Sequential([keras.Input((4,)), layers.Dense(4), block, layers.Dense(3)])

    model = l2rw_tf.ReweightingModel(make())
    model.compile("sgd", LOSS)
    with pytest.raises(UsageError, match=rf"{operation} \(of .*block.*finite_difference"):
        model.fit(X, Y, clean_data=CLEAN, verbose=0)
    trains_as_keras(make, (X, Y), CLEAN, meta_gradient="finite_difference")
