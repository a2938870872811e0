"""Order of arrays in `fit`: a function of seed and epoch, so that Keras's own backup resumes it."""

from __future__ import annotations

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.trainers.data_adapters import get_data_adapter

import l2rw_tf
from l2rw_tf.reweighting.feeding.array_order import ShuffledArrays


def shuffled(n=10, batch_size=4, seed=0, first_epoch=0, endless=False):
    arrays = get_data_adapter(np.arange(n), np.arange(n) % 3, batch_size=batch_size)
    return ShuffledArrays(arrays, seed, lambda: first_epoch, endless)


def epochs(adapter, count, batches):
    """Inputs of the first batches of some epochs, one after the other as Keras asks for them."""
    dataset = adapter.get_tf_dataset()
    read = []
    for _ in range(count):
        adapter.on_epoch_begin()
        taken = list(itertools.islice(dataset.as_numpy_iterator(), batches))
        for x, y in taken:
            np.testing.assert_array_equal(y, x % 3)
        read.append([x.tolist() for x, _ in taken])
    return read


def test_every_epoch_has_every_example_once_in_an_order_of_its_own():
    read = epochs(shuffled(), 4, 100)
    for epoch in read:
        assert [len(x) for x in epoch] == [4, 4, 2]
        assert sorted(sum(epoch, [])) == list(range(10))
    assert len({str(epoch) for epoch in read}) == 4
    assert epochs(shuffled(seed=1), 1, 100) != read[:1]


def test_an_epoch_has_the_same_order_whichever_came_before():
    read = epochs(shuffled(), 4, 100)
    assert epochs(shuffled(first_epoch=2), 2, 100) == read[2:]


def test_endless_batches_pass_again_and_again_each_time_in_another_order():
    (epoch,) = epochs(shuffled(endless=True), 1, 9)
    passes = [epoch[first : first + 3] for first in (0, 3, 6)]
    assert all(sorted(sum(one, [])) == list(range(10)) for one in passes)
    assert len({str(one) for one in passes}) == 3


@pytest.mark.parametrize(("batch_size", "known"), [(5, 5), (4, None)])
def test_the_batch_size_is_known_where_all_batches_have_it(batch_size, known):
    x, y = shuffled(10, batch_size).get_tf_dataset().element_spec
    assert x.shape.as_list() == y.shape.as_list() == [known]


class Interruption(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 37:
            raise InterruptedError


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"weighting": "meta_weight_net"}, {"reweight_every": 3}])
def test_backup_and_restore_ends_as_an_uninterrupted_fit(options, tmp_path):
    """With batch normalization, dropout, momentum, partial batches, and the examples' record."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(103, 5)).astype("float32"), rng.integers(0, 3, 103)

    def fitted(callbacks):
        # As in a new process: the interrupted one may have drawn random numbers since.
        keras.utils.set_random_seed(7)
        network = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(8, "relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.3),
                # Draws from the global state.
                keras.layers.Lambda(lambda x: x + 0.1 * keras.random.normal((8,))),
                keras.layers.Dense(3),
            ]
        )
        model = l2rw_tf.ReweightingModel(network, **options)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        history = model.fit(
            *(x, y, 10, 5, 0, callbacks),
            clean_data=(x[:17], y[:17]),
            clean_batch_size=4,
            track_examples=True,
        )
        return model, history.history

    whole, history = fitted([])
    backup = str(tmp_path / "backup")
    with pytest.raises(InterruptedError):
        fitted([keras.callbacks.BackupAndRestore(backup), Interruption()])
    resumed, rest = fitted([keras.callbacks.BackupAndRestore(backup)])

    assert {name: values[3:] for name, values in history.items()} == rest
    for expected, got in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(expected.numpy(), got.numpy())
    expected, got = whole.example_record(), resumed.example_record()
    for column in expected:
        np.testing.assert_array_equal(expected[column], got[column], column)


def test_loading_weights_outside_fit_leaves_random_numbers_alone(tmp_path):
    layers = [keras.Input((5,)), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    model = l2rw_tf.ReweightingModel(keras.Sequential(layers))
    model.compile("sgd", "mse")
    model.save_weights(tmp_path / "of.weights.h5")
    drawn = [float(keras.random.uniform(()))]
    model.load_weights(tmp_path / "of.weights.h5")
    drawn.append(float(keras.random.uniform(())))
    assert drawn[0] != drawn[1]


def test_nothing_of_a_fit_outlives_it():
    x, y = np.zeros((8, 5), "float32"), np.zeros(8, int)
    model = l2rw_tf.ReweightingModel(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, clean_data=(x, y), verbose=0)
    left = [weakref.ref(model), weakref.ref(x)]
    del model, x
    gc.collect()
    assert [reference() for reference in left] == [None, None]


@pytest.mark.parametrize("batch_size", [4, 5])
def test_sparse_arrays(batch_size):
    x = tf.sparse.from_dense(np.eye(10, 5, dtype="float32"))
    y = np.arange(10) % 3
    network = keras.Sequential([keras.Input((5,), sparse=True), keras.layers.Dense(3)])
    model = l2rw_tf.ReweightingModel(network)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, y, batch_size, clean_data=(x, y), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
