"""Steps between two reweighted ones: the weights of the last visit, by a slow plain version."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from tests.reweighting.test_model import LOSS, data, network


def _compiled(every, **options):
    model = l2rw_tf.ReweightingModel(network(), reweight_every=every)
    model.compile(keras.optimizers.SGD(0.1), LOSS, **options)
    return model


def _by_hand(net, batches, clean, every):
    """SGD by a loop, with a dict of last weights, in units of their batch's mean."""
    last = {}
    for step, (x, y, s, rows) in enumerate(batches):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(y, net(x), from_logits=True)
            if step % every == 0:
                u = l2rw_tf.meta_gradient(net, LOSS, (x, y), clean)
                w = l2rw_tf.normalize(u, s).numpy()
                # s is no part of what is kept, or it would count twice.
                own = l2rw_tf.normalize(u).numpy() * len(rows)
                last |= dict(zip(rows, own, strict=True))
            else:
                w = s * np.array([last.get(row, 1.0) for row in rows], "float32")
                w = w / w.sum() if w.sum() else w
            loss = tf.reduce_sum(losses * w)
        variables = [variable.value for variable in net.trainable_variables]
        for variable, gradient in zip(
            net.trainable_variables, tape.gradient(loss, variables), strict=True
        ):
            variable.assign_sub(0.1 * gradient)
    return net.get_weights()


def test_weights_of_the_last_visit_are_used_in_between():
    """Several epochs, a smaller last batch, sample weights, examples that were never weighted."""
    (x, y), clean = data(22), data(6, seed=1)
    s = np.random.default_rng(0).uniform(0.5, 2, 22).astype("float32")
    model = _compiled(3)
    model.fit(
        *(x, y),
        sample_weight=s,
        batch_size=8,
        epochs=4,
        shuffle=False,
        clean_data=clean,
        verbose=0,
    )
    parts = [slice(i, i + 8) for i in range(0, 22, 8)]
    batches = [(x[part], y[part], s[part], np.arange(22)[part]) for part in parts] * 4
    expected = _by_hand(network(), batches, clean, 3)
    for one, other in zip(model.network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    record = model.example_record()
    # Of 12 steps 4 are reweighted, the first of each epoch of three.
    assert record["times_seen"].tolist() == [4] * 8 + [0] * 14
    assert model.optimizer.iterations == 12


def test_every_step_is_the_default_and_a_file_keeps_the_number(tmp_path):
    (x, y), clean = data(20), data(6, seed=1)
    trained = []
    for arguments in ({}, {"reweight_every": 1}):
        model = l2rw_tf.ReweightingModel(network(), **arguments)
        model.compile("sgd", LOSS)
        model.fit(x, y, batch_size=5, shuffle=False, clean_data=clean, verbose=0)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
    _compiled(4).save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").reweight_every == 4


def test_a_weight_of_a_small_batch_counts_as_one_of_a_large_batch():
    """Of 17 examples in batches of 8 one is alone: its weight is 1 there, the mean of a batch."""
    (x, y), clean = data(17), data(6, seed=1)
    model = _compiled(2)
    model.optimizer.learning_rate = 0.0
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, clean_data=clean, verbose=0)
    kept = model._record.kept_weights(tf.range(17)).numpy()
    last = model.example_record()["last_weight"]
    seen = np.isfinite(last)
    sizes = np.where(np.arange(17) < 16, 8, 1)
    np.testing.assert_allclose(kept[seen], (last * sizes)[seen], rtol=1e-5)
    assert (kept[~seen] == 1).all()


def test_an_epoch_without_a_reweighted_step_has_no_clean_loss():
    (x, y), clean = data(16), data(6, seed=1)
    logs = _compiled(4).fit(x, y, batch_size=8, epochs=2, clean_data=clean, verbose=0).history
    assert np.isfinite(logs["clean_loss"][0]) and np.isnan(logs["clean_loss"][1])
    assert logs["effective_batch_size"][1] > 1


def test_what_is_not_possible_is_refused():
    (x, y), clean = data(20), data(6, seed=1)
    for value in (0, 1.5, True):
        with pytest.raises(l2rw_tf.UsageError, match="reweight_every must be a whole number"):
            l2rw_tf.ReweightingModel(network(), reweight_every=value)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    with pytest.raises(l2rw_tf.UsageError, match="reweight_every=2 needs the ids"):
        _compiled(2).fit(batches, clean_data=clean, verbose=0)
    with pytest.raises(l2rw_tf.UsageError, match="steps_per_execution=3 cannot be used"):
        _compiled(2, steps_per_execution=3).fit(x, y, clean_data=clean, verbose=0)
