"""Layers with state: only the training pass moves it, and clean sequences begin anew."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import l2rw_tf
from l2rw_tf.reweighting.passes import recurrent_states
from tests.equal_weights import Equal

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BATCH = 6


class RunningMean(layers.Layer):
    """Takes off a mean that it moves while it trains."""

    def __init__(self):
        super().__init__()
        self.mean = self.add_weight(shape=(3,), trainable=False, initializer="zeros")

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x, axis=(0, 1)))
        return x - self.mean


def lstm():
    return [layers.LSTM(4, stateful=True)]


def both_ways():
    return [layers.Bidirectional(layers.GRU(3, stateful=True, return_sequences=True))]


def stacked():
    cells = [layers.LSTMCell(3), layers.SimpleRNNCell(2)]
    return [layers.RNN(cells, stateful=True)]


def running_mean():
    return [RunningMean()]


def spectral():
    return [layers.SpectralNormalization(layers.Dense(4))]


def network(make):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 3), batch_size=BATCH)
    return keras.Sequential([inputs, *make(), layers.Flatten(), layers.Dense(2)])


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5, 3)).astype("float32"), rng.integers(0, 2, n)


@pytest.mark.parametrize("make", [lstm, both_ways, stacked, running_mean, spectral])
def test_state_is_moved_as_by_plain_keras(make):
    train, clean = data(4 * BATCH), data(BATCH, seed=1)
    plain, net = network(make), network(make)
    plain.compile(keras.optimizers.SGD(0.1), LOSS)
    plain.fit(*train, batch_size=BATCH, shuffle=False, verbose=0)
    model = l2rw_tf.ReweightingModel(net, weighting=Equal())
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    model.fit(*train, batch_size=BATCH, shuffle=False, clean_data=clean, verbose=0)

    def state(net):
        return [*net.variables, *(one for _, one in recurrent_states(net))]

    for a, b in zip(state(plain), state(net), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6, err_msg=a.path)


@pytest.mark.parametrize("make", [lstm, both_ways, stacked])
def test_clean_sequences_begin_anew(make):
    train, clean = data(4 * BATCH), data(BATCH, seed=1)
    net = network(make)
    begun = float(LOSS(clean[1], net(clean[0])))
    model = l2rw_tf.ReweightingModel(net)
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    logs = model.fit(*train, batch_size=BATCH, clean_data=clean, verbose=0).history
    np.testing.assert_allclose(logs["clean_loss"], [begun], rtol=1e-5)


def test_clean_batches_of_another_size_are_refused_by_name():
    model = l2rw_tf.ReweightingModel(
        network(lambda: [layers.LSTM(4, stateful=True, name="memory")])
    )
    model.compile("sgd", LOSS)
    with pytest.raises(l2rw_tf.UsageError, match="'memory' is stateful.*6.*have 4"):
        model.fit(*data(12), batch_size=BATCH, clean_data=data(4, seed=1), verbose=0)
