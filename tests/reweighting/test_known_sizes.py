"""The step's graph knows its batch size where the data does not say it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from l2rw_tf.reweighting.feeding.batches import TRAINING

RNG = np.random.default_rng(0)


class Watched(l2rw_tf.ReweightingModel):
    """Keeps the shapes that the step was traced for."""

    def train_step(self, data):
        self.traced.append(tuple(data[TRAINING][0].shape))
        return super().train_step(data)


def _model(shape=(5,), **options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.GlobalAveragePooling1D()] if len(shape) > 1 else []
    network = keras.Sequential(
        [keras.Input(shape), *layers, keras.layers.Dense(7, "relu"), keras.layers.Dense(3)]
    )
    model = Watched(network)
    model.traced = []
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def _batches(size, n, **options):
    x, y = RNG.normal(size=(n, 5)).astype("float32"), RNG.integers(0, 3, n)
    return x, y, tf.data.Dataset.from_tensor_slices((x, y)).batch(size, **options)


def _counted(elements, spec):
    """Keras warns of the end of a data set whose length it does not know."""
    batches = tf.data.Dataset.from_generator(elements, output_signature=spec)
    return batches.apply(tf.data.experimental.assert_cardinality(len(list(elements()))))


CLEAN = (RNG.normal(size=(6, 5)).astype("float32"), np.arange(6) % 3)


def test_whole_and_last_batches_are_traced_by_themselves_and_once():
    model = _model()
    _, _, batches = _batches(8, 20)
    model.fit(batches, clean_data=CLEAN, epochs=3, verbose=0)
    assert model.traced == [(8, 5), (4, 5)]
    assert model.optimizer.iterations == 9


@pytest.mark.parametrize("n", [16, 20])
def test_steps_are_those_of_the_function_that_is_given_the_data_set_itself(n):
    x, y, batches = _batches(8, n)
    model = _model()
    history = model.fit(batches, clean_data=CLEAN, clean_batch_size=6, verbose=0).history
    other = _model()
    losses = [
        other.train_on_batch(x[i : i + 8], y[i : i + 8], clean_data=CLEAN, return_dict=True)["loss"]
        for i in range(0, n, 8)
    ]
    sizes = [min(8, n - i) for i in range(0, n, 8)]
    assert history["loss"][0] == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    for one, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-7)


def test_many_sizes_do_not_trace_for_ever():
    sizes = list(range(3, 15))

    def elements():
        for size in sizes:
            yield np.ones((size, 5), "float32"), np.zeros(size, "int64")

    spec = (tf.TensorSpec((None, 5), tf.float32), tf.TensorSpec((None,), tf.int64))
    batches = _counted(elements, spec)
    model = _model()
    model.fit(batches, clean_data=CLEAN, verbose=0)
    assert model.optimizer.iterations == len(sizes)
    assert len(model.traced) <= 6


def test_examples_of_different_lengths_are_traced_once():
    def elements():
        for length in range(3, 9):
            yield np.ones((4, length, 2), "float32"), np.zeros(4, "int64")

    spec = (tf.TensorSpec((None, None, 2), tf.float32), tf.TensorSpec((None,), tf.int64))
    batches = _counted(elements, spec)
    clean = tf.data.Dataset.from_tensors((np.ones((4, 5, 2), "float32"), np.arange(4) % 3))
    model = _model((None, 2))
    model.fit(batches, clean_data=clean, verbose=0)
    assert model.traced == [(None, None, 2)]
