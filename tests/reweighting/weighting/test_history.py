"""Weights from an example's history against plain loops, and what cannot be weighted so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.weighting.history import HistoryWeighting
from tests.reweighting.test_model import LOSS, data, network
from tests.reweighting.weighting.slow_evidence import shares, slow_findings, slow_weights

CASES = [
    HistoryWeighting(),
    HistoryWeighting(shape="mixed"),
    HistoryWeighting(shape="mixed", margin=0.1, full_visits=0),
    HistoryWeighting(shape="shifted"),
    HistoryWeighting(smoothing=0, shape="rectified", full_visits=0),
    HistoryWeighting(smoothing=1, shape="equal", margin=0.5, full_visits=2),
    HistoryWeighting(smoothing=0.9, shape="sigmoid", full_visits=0),
]
SHAPES = {
    "shifted": lambda s, margin: max(s + margin, 0),
    "rectified": lambda s, margin: max(s, 0),
    "equal": lambda s, margin: float(s > -margin),
    "sigmoid": lambda s, margin: 1 / (1 + np.exp(-3 * s)),
}


def reweighting(weighting, net=None, **compile_arguments):
    model = l2rw_tf.ReweightingModel(net or network(), weighting=weighting)
    model.compile(keras.optimizers.SGD(0.5), LOSS, **compile_arguments)
    return model


class SlowHistory:
    """The figures of each example in lists."""

    def __init__(self, weighting):
        self.weighting, self.visits, self.findings, self.parts = weighting, {}, {}, []

    def weigh(self, net, batch, clean, ids, sample_weight):
        u = l2rw_tf.meta_gradient(net, LOSS, batch, clean).numpy()
        u = u / np.mean(np.abs(u))
        if self.weighting.shape == "likeness":
            return self.by_likeness(net, batch, clean, ids, u, sample_weight)
        smoothed, first = [], []
        for i, one in zip(ids, u, strict=True):
            visits = self.visits.setdefault(int(i), [])
            visits.append(one)
            s, c = visits[0], self.weighting.smoothing
            for later in visits[1:]:
                s = c * s + (1 - c) * later
            smoothed.append(np.mean(visits) if c == 1 else s)
            first.append(len(visits) <= self.weighting.full_visits)
        if self.weighting.shape == "mixed":
            return self.mixed(np.where(first, 0, smoothed), sample_weight)
        shape, margin = SHAPES[self.weighting.shape], self.weighting.margin
        shaped = [1 if one else shape(s, margin) for s, one in zip(smoothed, first, strict=True)]
        return shares(sample_weight * np.array(shaped))

    def by_likeness(self, net, batch, clean, ids, u, sample_weight):
        """Every other clean example gives the gradient that the others' are compared by."""
        losses, clean_losses = (
            keras.losses.sparse_categorical_crossentropy(y, net(x), from_logits=True).numpy()
            for x, y in (batch, clean)
        )
        half = [part[::2] for part in clean]
        along, clean_u = (
            l2rw_tf.meta_gradient(net, LOSS, part, half).numpy() for part in (batch, clean)
        )
        found = slow_findings(
            losses, along, sample_weight, clean_losses, clean_u[1::2], np.ones(len(clean_losses))
        )
        for i, row in zip(ids, found, strict=True):
            self.findings[int(i)] = self.findings.get(int(i), 0) + np.array(row)
            self.visits[int(i)] = self.visits.get(int(i), 0) + 1
        sums = np.array([self.findings[int(i)] for i in ids])
        visits = [self.visits[int(i)] for i in ids]
        capacity = min(max(net.count_params() / (10 * 25), 1), 20)
        w, *parts = slow_weights(
            sums, losses, u, sample_weight, np.mean(clean_losses), visits, capacity
        )
        self.parts.append(parts)
        return w

    def mixed(self, smoothed, sample_weight):
        not_against = np.interp(smoothed, [-self.weighting.margin, 0], [0, 1])
        positive = [max(s, 0) for s in smoothed]
        return shares(shares(sample_weight * not_against) + shares(sample_weight * positive))


@pytest.mark.parametrize(
    ("weighting", "uneven", "jit_compile", "width"),
    [
        *((case, False, False, 8) for case in CASES),
        (CASES[0], False, True, 100),
        (CASES[0], True, False, 8),
        (CASES[0], False, False, 100),
        (CASES[1], False, True, 8),
    ],
    ids=str,
)
def test_a_training_equals_a_plain_one_with_these_weights(weighting, uneven, jit_compile, width):
    """Three epochs with a smaller last batch and sample weights, one of them 0.

    Also of a network that has more parameters than the examples need to be learned by heart.
    """
    (x, y), clean = data(25), data(6, seed=1)
    if uneven:
        y = np.where(np.arange(25) % 9 > 0, 0, y)
    sample_weight = np.ones(25, "float32")
    sample_weight[3], sample_weight[7] = 0, 2
    model = reweighting(weighting, network(width=width), jit_compile=jit_compile)
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
    twin, slow = network(width=width), SlowHistory(weighting)
    twin.compile(keras.optimizers.SGD(0.5), LOSS)
    for _ in range(3):
        for start in (0, 10, 20):
            ids = np.arange(start, min(start + 10, 25))
            w = slow.weigh(twin, (x[ids], y[ids]), clean, ids, sample_weight[ids])
            # Keras takes the mean over the batch.
            twin.train_on_batch(x[ids], y[ids], sample_weight=w * len(ids))
    for found, expected in zip(model.network.variables, twin.variables, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)
    if weighting.shape == "likeness":
        likeness = [slow.findings[i][0] / slow.findings[i][1] for i in range(25)]
        np.testing.assert_allclose(model.example_record()["likeness"], likeness, rtol=1e-3)
        # Among them steps in which a part goes as in the paper, and not all of it.
        assert not uneven or any(0 < part < 1 for part, _ in slow.parts)
        assert all(by_heart > 0 for _, by_heart in slow.parts) == (width > 8)
    else:
        assert "likeness" not in model.example_record()


def test_half_of_the_weight_is_spread_and_half_as_in_the_paper():
    w = HistoryWeighting(shape="mixed")(tf.constant([-2.0, -0.5, 0, 0, 1, 3]), tf.ones(6)).numpy()
    spread = np.array([0, 0.5, 1, 1, 1, 1]) / 4.5
    np.testing.assert_allclose(w, spread / 2 + np.array([0, 0, 0, 0, 1, 3]) / 8, rtol=1e-6)


def test_the_first_epoch_is_plain_training():
    (x, y), clean = data(20), data(6, seed=1)
    model, plain = reweighting(HistoryWeighting(shape="mixed")), network()
    plain.compile(keras.optimizers.SGD(0.5), LOSS)
    model.fit(x, y, batch_size=5, shuffle=False, clean_data=clean, verbose=0)
    plain.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    for found, expected in zip(model.network.variables, plain.variables, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", ["likeness", "shifted"])
def test_weighting_and_history_are_saved(shape, tmp_path):
    (x, y), clean = data(20), tf.data.Dataset.from_tensors(data(6, seed=1))
    model = reweighting(HistoryWeighting(smoothing=0.9, shape=shape, margin=0.5))
    model.fit(x, y, batch_size=8, clean_data=clean, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config()["weighting"] == model.get_config()["weighting"]
    assert loaded.get_config()["weighting"]["smoothing"] == 0.9
    for name, column in model.example_record().items():
        np.testing.assert_array_equal(loaded.example_record()[name], column)
    # Examples that were seen before the file was written are not new.
    for one in (model, loaded):
        one.fit(x, y, batch_size=20, shuffle=False, clean_data=clean, verbose=0)
    np.testing.assert_allclose(
        loaded.example_record()["last_weight"], model.example_record()["last_weight"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: reweighting("newest"), "weighting must be 'paper', 'history' .* got 'newest'"),
        (lambda: HistoryWeighting(smoothing=2), "smoothing must lie between 0 and 1, got 2"),
        (lambda: HistoryWeighting(shape="square"), "shape must be one of .* got 'square'"),
        (lambda: HistoryWeighting(margin=-1), "margin must be at least 0, .* got -1"),
        (
            lambda: HistoryWeighting(shape="mixed", margin=0),
            "above 0 for the shape 'mixed', got 0",
        ),
        (lambda: HistoryWeighting(full_visits=-1), "full_visits must be at least 0, got -1"),
        (
            lambda: reweighting("history").train_on_batch(*data(5), clean_data=data(4)),
            "which examples are in a batch",
        ),
        (
            lambda: reweighting("history").fit(
                tf.data.Dataset.from_tensors(data(5)), clean_data=data(4), verbose=0
            ),
            "number_examples",
        ),
        (
            lambda: reweighting("history").example_weights(*data(5), clean_data=data(4)),
            "example_record",
        ),
    ],
)
def test_mistakes(mistake, message):
    with pytest.raises(UsageError, match=message):
        mistake()
