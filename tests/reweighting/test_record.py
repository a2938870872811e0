"""The record against a slow reimplementation over the recorded batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from l2rw_tf.reweighting.record import Record
from tests.reweighting.test_model import LOSS, data, network, reweighting

SMOOTHING = 0.7


def slow_record(num_examples, visits):
    """A plain loop over (ids, u, w, losses) of every batch."""
    rows = [[] for _ in range(num_examples)]
    for ids, u, w, losses in visits:
        scaled = u / np.mean(np.abs(u)) if np.any(u) else u
        for i, *values in zip(ids, scaled, w, losses, strict=True):
            rows[i].append(values)
    table = {"id": np.arange(num_examples), "times_seen": np.array([len(row) for row in rows])}
    columns = {
        "mean_u": lambda u, w, loss: np.mean(u),
        "mean_weight": lambda u, w, loss: np.mean(w),
        "mean_loss": lambda u, w, loss: np.mean(loss),
        "positive_share": lambda u, w, loss: np.mean(w > 0),
        "last_u": lambda u, w, loss: u[-1],
        "last_weight": lambda u, w, loss: w[-1],
        "smoothed_u": lambda u, w, loss: smooth(u),
    }
    for name, column in columns.items():
        table[name] = np.array([column(*np.array(r).T) if r else np.nan for r in rows])
    return table


def smooth(u):
    s = u[0]
    for one in u[1:]:
        s = SMOOTHING * s + (1 - SMOOTHING) * one
    return s


def assert_same(record, expected):
    assert sorted(record) == sorted(expected)
    for name, column in expected.items():
        np.testing.assert_allclose(record[name], column, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_repeated_ids_and_batches_of_any_size(jit_compile):
    """Also ids that are never seen, weights of 0, and a batch whose u is 0 throughout."""
    rng = np.random.default_rng(0)
    kept, visits = Record(), []
    kept.open_for(20, "")
    update = tf.function(kept.update, jit_compile=jit_compile, reduce_retracing=True)
    for size in (8, 8, 5, 1, 8):
        ids, u = rng.integers(0, 15, size), rng.normal(size=size).astype("float32")
        if size == 1:
            u = np.zeros(1, "float32")
        w = np.maximum(u, 0) / max(np.maximum(u, 0).sum(), 1e-9)
        losses = rng.random(size).astype("float32")
        w_tensor = tf.constant(w, tf.float32)
        update(tf.constant(ids), tf.constant(u), w_tensor, losses, w_tensor)
        visits.append((ids, u, w, losses))
    assert any(len(set(ids)) < len(ids) for ids, *_ in visits)
    expected = slow_record(20, visits)
    # Met again in a batch, an example is smoothed from what it was before the batch.
    met_again = [i for i in range(20) if any(np.sum(ids == i) > 1 for ids, *_ in visits)]
    record = kept.columns()
    for table in (record, expected):
        table["smoothed_u"][met_again] = 0
    assert_same(record, expected)
    other, store = Record(), {}
    kept.save_own_variables(store)
    other.load_own_variables(store)
    assert_same(other.columns(), kept.columns())


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_training_is_recorded_step_by_step(steps_per_execution):
    """With a smaller last batch; weights and u of every step from the public functions."""
    (x, y), clean = data(25), data(6, seed=1)
    clean_data = tf.data.Dataset.from_tensors(clean)
    model = reweighting(keras.optimizers.SGD(0.1), steps_per_execution=steps_per_execution)
    for _ in range(2):
        model.fit(
            x,
            y,
            batch_size=10,
            shuffle=False,
            clean_data=clean_data,
            track_examples=True,
            epochs=2,
            verbose=0,
        )
    twin, visits = reweighting(keras.optimizers.SGD(0.1)), []
    for _ in range(4):
        for start in (0, 10, 20):
            ids = np.arange(start, min(start + 10, 25))
            u = l2rw_tf.meta_gradient(twin.network, twin.loss, (x[ids], y[ids]), clean).numpy()
            loss = keras.losses.sparse_categorical_crossentropy(y[ids], twin.network(x[ids]), True)
            visits.append((ids, u, l2rw_tf.normalize(u).numpy(), loss.numpy()))
            twin.train_on_batch(x[ids], y[ids], clean_data=clean)
    record, expected = model.example_record(), slow_record(25, visits)
    for name, column in expected.items():
        np.testing.assert_allclose(record[name], column, rtol=1e-3, atol=1e-4, err_msg=name)


def test_ids_of_data_sets_stay_with_their_examples():
    """Shuffled and batched, with class weights: one batch an epoch makes the order irrelevant."""
    (x, y), clean = data(20), data(6, seed=1)
    arrays, stream = reweighting(), reweighting()
    arguments = {
        "clean_data": clean,
        "epochs": 2,
        "verbose": 0,
        "class_weight": {0: 2.0, 1: 1.0, 2: 0.5},
    }
    arrays.fit(x, y, batch_size=20, track_examples=True, **arguments)
    numbered = l2rw_tf.number_examples(tf.data.Dataset.from_tensor_slices((x, y)))
    stream.fit(numbered.shuffle(20).batch(20), track_examples=20, **arguments)
    for name, column in arrays.example_record().items():
        np.testing.assert_allclose(
            stream.example_record()[name], column, rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_tracking_changes_nothing_and_is_saved(tmp_path):
    """The same parameters with and without; the record is loaded with the model and continues."""
    (x, y), clean = data(20), data(6, seed=1)
    clean_data = tf.data.Dataset.from_tensors(clean)
    with_record, without = reweighting(), reweighting()
    for model, track in ((with_record, True), (without, False)):
        model.fit(
            x,
            y,
            shuffle=False,
            batch_size=8,
            clean_data=clean_data,
            track_examples=track,
            verbose=0,
        )
    for a, b in zip(with_record.network.variables, without.network.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with_record.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded.example_record(), with_record.example_record())
    loaded.fit(x, y, batch_size=8, clean_data=clean_data, track_examples=True, verbose=0)
    assert (loaded.example_record()["times_seen"] == 2).all()
    assert with_record.count_params() == without.count_params()


def test_ids_outside_the_table_are_named():
    """And nothing of the table is hurt by them."""
    x, y = data(20)
    numbered = l2rw_tf.number_examples(tf.data.Dataset.from_tensor_slices((x, y)))
    model = reweighting()
    with pytest.raises(l2rw_tf.UsageError, match="id 14, but the record has 12 rows.*0 and 11"):
        model.fit(numbered.batch(5), clean_data=data(4), track_examples=12, verbose=0)
    assert model.example_record()["times_seen"].tolist() == [1] * 12


@pytest.mark.slow
def test_other_training_data_begins_a_record_anew(tmp_path):
    """Of equal size, known by the labels; also once it was saved. Augmented inputs continue it."""
    (x, y), clean = data(20), data(6, seed=1)
    model = reweighting()
    arguments = {"clean_data": clean, "track_examples": True, "verbose": 0}
    model.fit(x, y, **arguments)
    model.fit(x + 0.1, y, **arguments)
    assert (model.example_record()["times_seen"] == 2).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(*data(20, seed=2), **arguments)
        assert (one.example_record()["times_seen"] == 1).all()


def test_going_back_to_the_best_epoch_leaves_the_record():
    """`EarlyStopping` restores weights; what the examples were given stays as it was."""
    (x, y), clean = data(20), data(6, seed=1)
    model = reweighting()
    best = keras.callbacks.EarlyStopping("loss", mode="max", restore_best_weights=True, patience=9)
    model.fit(x, y, clean_data=clean, track_examples=True, epochs=4, callbacks=[best], verbose=0)
    assert best.best_epoch < 3
    assert (model.example_record()["times_seen"] == 4).all()
    assert model.get_weights() and len(model.get_weights()) == len(model.network.get_weights())


def test_all_state_of_a_step_is_among_the_models_variables():
    """What a step changes is found by Keras's own lists."""
    (x, y), clean = data(20), data(6, seed=1)
    model = l2rw_tf.ReweightingModel(network(), weighting="meta_weight_net")
    model.compile(keras.optimizers.SGD(0.5), LOSS)
    model.fit(x, y, clean_data=clean, track_examples=True, verbose=0)
    names = {variable.name for variable in model.variables}
    assert {"sums", "last", "strange_row", "hidden_kernel", "steps", "bad_steps"} <= names
    assert len(model.metrics_variables) >= 6
    assert model.layers == [model.network]


@pytest.mark.parametrize(
    "mistake", ["no record", "dataset without ids", "True for a dataset", "zero", "text"]
)
def test_mistakes(mistake):
    x, y = data(20)
    plain = tf.data.Dataset.from_tensor_slices((x, y))
    calls = {
        "no record": (lambda m: m.example_record(), "No examples were tracked"),
        "dataset without ids": (
            lambda m: m.fit(plain.batch(5), clean_data=data(4), track_examples=20),
            "number_examples",
        ),
        "True for a dataset": (
            lambda m: m.fit(
                l2rw_tf.number_examples(plain).batch(5), clean_data=data(4), track_examples=True
            ),
            "must be the number of training examples",
        ),
        "zero": (
            lambda m: m.fit(x, y, clean_data=data(4), track_examples=0),
            "at least 1, got 0",
        ),
        "text": (lambda m: m.fit(x, y, clean_data=data(4), track_examples="20"), "got '20'"),
    }
    call, message = calls[mistake]
    with pytest.raises(l2rw_tf.UsageError, match=message):
        call(reweighting(net=network()))
