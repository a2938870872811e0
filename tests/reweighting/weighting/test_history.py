"""Weights from an example's history against plain loops, and what cannot be weighted so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from l2rw_tf.errors import UsageError
from tests.reweighting.test_model import LOSS, data, network
from tests.reweighting.weighting.slow_evidence import slow_findings, slow_weights


def reweighting(weighting="history", net=None, meta_variables="all", **compile_arguments):
    model = l2rw_tf.ReweightingModel(net or network(), meta_variables, weighting=weighting)
    model.compile(keras.optimizers.SGD(0.5), LOSS, **compile_arguments)
    return model


class SlowHistory:
    """What each example was found to be, in lists."""

    def __init__(self):
        self.visits, self.findings, self.parts = {}, {}, []

    def weigh(self, net, batch, clean, rows, sample_weight):
        """Every other clean example gives the gradient that the others' are compared by."""
        u = l2rw_tf.meta_gradient(net, LOSS, batch, clean).numpy()
        losses, clean_losses = (
            keras.losses.sparse_categorical_crossentropy(y, net(x), from_logits=True).numpy()
            for x, y in (batch, clean)
        )
        half = [part[::2] for part in clean]
        aligned, clean_u = (
            l2rw_tf.meta_gradient(net, LOSS, part, half).numpy() for part in (batch, clean)
        )
        found = slow_findings(
            losses, aligned, sample_weight, clean_losses, clean_u[1::2], np.ones(len(clean_losses))
        )
        for i, row in zip(rows, found, strict=True):
            self.findings[int(i)] = self.findings.get(int(i), 0) + np.array(row)
            self.visits[int(i)] = self.visits.get(int(i), 0) + 1
        sums = np.array([self.findings[int(i)] for i in rows])
        visits = [self.visits[int(i)] for i in rows]
        capacity = min(max(net.count_params() / (10 * 25), 1), 20)
        u = u / np.mean(np.abs(u))
        w, *parts = slow_weights(
            sums, losses, u, sample_weight, np.mean(clean_losses), visits, capacity
        )
        self.parts.append(parts)
        return w


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imbalanced", "jit_compile", "width"),
    [
        (False, False, 8),
        pytest.param(False, True, 100, marks=pytest.mark.xla),
        (True, False, 8),
        (False, False, 100),
    ],
)
def test_a_training_equals_a_plain_one_with_these_weights(imbalanced, jit_compile, width):
    """Three epochs with a smaller last batch and sample weights, one of them 0.

    Also of a network that has more parameters than it needs to memorize the examples.
    """
    (x, y), clean = data(25), data(6, seed=1)
    if imbalanced:
        y = np.where(np.arange(25) % 9 > 0, 0, y)
    sample_weight = np.ones(25, "float32")
    sample_weight[3], sample_weight[7] = 0, 2
    model = reweighting(net=network(width=width), jit_compile=jit_compile)
    model.fit(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=10,
        epochs=3,
        shuffle=False,
        clean_data=tf.data.Dataset.from_tensors(clean),
        verbose=0,
    )
    twin, slow = network(width=width), SlowHistory()
    twin.compile(keras.optimizers.SGD(0.5), LOSS)
    for _ in range(3):
        for start in (0, 10, 20):
            rows = np.arange(start, min(start + 10, 25))
            w = slow.weigh(twin, (x[rows], y[rows]), clean, rows, sample_weight[rows])
            # Keras takes the mean over the batch.
            twin.train_on_batch(x[rows], y[rows], sample_weight=w * len(rows))
    for found, expected in zip(model.network.variables, twin.variables, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
    likeness = [slow.findings[i][0] / slow.findings[i][1] for i in range(25)]
    np.testing.assert_allclose(model.example_record()["likeness"], likeness, rtol=1e-3)
    # Among them steps in which a part goes as in the paper, and not all of it.
    assert not imbalanced or any(0 < part < 1 for part, _ in slow.parts)
    assert all(memorized > 0 for _, memorized in slow.parts) == (width > 8)


@pytest.mark.slow
def test_the_head_is_taken_unless_something_else_is_given():
    (x, y), clean = data(20), tf.data.Dataset.from_tensors(data(6, seed=1))
    found = {}
    for meta_variables in (None, "head", "all"):
        model = reweighting(meta_variables=meta_variables)
        model.fit(x, y, batch_size=20, shuffle=False, clean_data=clean, verbose=0)
        found[meta_variables] = model.example_record()["last_u"]
    np.testing.assert_array_equal(found[None], found["head"])
    assert np.abs(found[None] - found["all"]).max() > 1e-3


@pytest.mark.slow
def test_weighting_and_history_are_saved(tmp_path):
    (x, y), clean = data(20), tf.data.Dataset.from_tensors(data(6, seed=1))
    model = reweighting()
    model.fit(x, y, batch_size=8, clean_data=clean, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.weighting.name == "history"
    for name, column in model.example_record().items():
        np.testing.assert_array_equal(loaded.example_record()[name], column)
    # Examples that were seen before the file was written are not new.
    for one in (model, loaded):
        one.fit(x, y, batch_size=20, shuffle=False, clean_data=clean, verbose=0)
    np.testing.assert_allclose(
        loaded.example_record()["last_weight"], model.example_record()["last_weight"], rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_fitted", [False, True])
def test_weights_saved_under_another_weighting(is_fitted, tmp_path):
    """The record is taken; what history knows begins anew, and the paper's weights need none."""
    (x, y), clean = data(20), data(6, seed=1)
    models = {"paper": reweighting("paper"), "history": reweighting()}
    for name, model in models.items():
        model.fit(x, y, clean_data=clean, track_examples=True, verbose=0)
        model.save_weights(tmp_path / f"{name}.weights.h5")
    for name, other in (("paper", "history"), ("history", "paper")):
        model = models[other] if is_fitted else reweighting(other)
        model.load_weights(tmp_path / f"{name}.weights.h5")
        assert (model.example_record()["times_seen"] == 1).all()
        assert np.isnan(model.example_record().get("likeness", np.nan)).all()
        model.fit(x, y, clean_data=clean, track_examples=True, verbose=0)
        assert (model.example_record()["times_seen"] == 2).all()


def test_a_record_without_evidence_is_no_reason_to_train_without_ids(tmp_path):
    (x, y), clean = data(20), data(6, seed=1)
    paper, history = reweighting("paper"), reweighting()
    paper.fit(x, y, clean_data=clean, track_examples=True, verbose=0)
    paper.save_weights(tmp_path / "paper.weights.h5")
    history.load_weights(tmp_path / "paper.weights.h5")
    with pytest.raises(UsageError, match="track_examples=NUMBER_OF_EXAMPLES"):
        history.fit(numbered(), clean_data=clean, verbose=0)


def numbered():
    examples = tf.data.Dataset.from_tensor_slices(data(5))
    return l2rw_tf.number_examples(examples).batch(5)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: reweighting("newest"), "or 'history', got 'newest'"),
        (lambda: reweighting(7), "or a Weighting, got 7"),
        (
            lambda: reweighting().train_on_batch(*data(5), clean_data=data(4)),
            "ids of the examples in a batch",
        ),
        (
            lambda: reweighting().fit(
                tf.data.Dataset.from_tensors(data(5)), clean_data=data(4), verbose=0
            ),
            "number_examples",
        ),
        (
            lambda: reweighting().fit(numbered(), clean_data=data(4), verbose=0),
            "track_examples=NUMBER_OF_EXAMPLES",
        ),
        (
            lambda: reweighting().example_weights(*data(5), clean_data=data(4)),
            "example_record",
        ),
    ],
)
def test_mistakes(mistake, message):
    with pytest.raises(UsageError, match=message):
        mistake()
