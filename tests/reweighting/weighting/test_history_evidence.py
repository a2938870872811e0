"""How like the clean examples a training example is: against plain loops, and what it is for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.meta_gradient import clean_gradient, get_estimator
from l2rw_tf.reweighting.objective import Objective
from l2rw_tf.reweighting.weighting import history_evidence as likeness
from l2rw_tf.reweighting.weighting.history_clean import CleanReference, clean_reference
from tests.reweighting.test_model import LOSS, data, network
from tests.reweighting.weighting.slow_evidence import slow_findings, slow_weights


def clean_of(losses, u, weight=None):
    """A clean batch that has these figures."""
    weight = np.ones(len(losses)) if weight is None else weight
    is_held_out = np.arange(len(losses)) % 2
    arrays = (tf.constant(one, tf.float32) for one in (losses, weight, u, is_held_out))
    losses, weight, u, is_held_out = arrays
    return CleanReference(tf.reduce_mean(losses), [], losses, weight, u, is_held_out)


def compared(losses, u, clean, sample_weight=None):
    losses, u = tf.constant(losses, tf.float32), tf.constant(u, tf.float32)
    return likeness.compare(losses, u, sample_weight, clean).numpy()


@pytest.mark.parametrize("number", [1, 2, 7, 30])
def test_findings_and_weights_equal_plain_loops(number):
    """With equal losses, weights on both sides and examples that were taken out."""
    rng = np.random.default_rng(number)
    losses, u = rng.exponential(size=20).round(1), rng.normal(size=20).astype("float32")
    clean_losses, clean_u = rng.exponential(size=number).round(1), rng.normal(size=number)
    weight, clean_weight = rng.integers(0, 3, 20), rng.integers(1, 3, number)
    clean = clean_of(clean_losses, clean_u, clean_weight)
    sample_weight = tf.constant(weight, tf.float32)
    found = compared(losses, u, clean, sample_weight)
    expected = slow_findings(
        losses.astype("float32"),
        u,
        weight,
        clean_losses.astype("float32"),
        clean_u[1::2].astype("float32"),
        clean_weight,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    clean_loss = np.average(clean_losses, weights=clean_weight)
    visits = np.arange(20) % 3 + 1
    # Along, as is, and against the clean gradient, of a network that memorizes or not.
    for shift, capacity in ((0, 1), (0, 3), (-1, 1), (-1, 8), (-2, 8)):
        w = likeness.weigh(
            tf.constant(found),
            tf.constant(losses, tf.float32),
            tf.constant(u + shift, tf.float32),
            sample_weight,
            clean,
            tf.constant(visits, tf.float32),
            capacity,
        )
        by_loops, *_ = slow_weights(
            expected, losses, u + shift, weight, clean_loss, visits, capacity
        )
        np.testing.assert_allclose(w, by_loops, rtol=1e-3, atol=1e-5)


def weighed(r, losses, u, clean, visits=1, capacity=1.0):
    sums = tf.constant([[one, 1] for one in r], tf.float32)
    losses, u = (tf.constant(one, tf.float32) for one in (losses, u))
    visits = tf.fill(tf.shape(losses), float(visits))
    return likeness.weigh(sums, losses, u, None, clean, visits, capacity).numpy()


def trust_after(visits, clean_size=100):
    """The trust that each of 100 examples has after visits, whose losses a function draws."""
    rng = np.random.default_rng(0)
    sums = np.zeros((100, 2), "float32")
    for _ in range(visits[0]):
        losses, u, clean_losses, clean_u = visits[1](rng, clean_size)
        clean = clean_of(clean_losses, clean_u)
        sums += compared(losses, u, clean)
    r = likeness.probability(tf.constant(sums))
    training_loss = np.average(losses, weights=r**2 / (r**2 + (1 - r) ** 2))
    return likeness.trust(r, float(np.clip(clean_losses.mean() / training_loss, 1, 20))).numpy()


def alike(rng, clean_size):
    return (
        rng.exponential(size=100),
        rng.normal(size=100),
        rng.exponential(size=clean_size),
        rng.normal(size=clean_size),
    )


def forty_wrong(rng, clean_size):
    losses, u, clean_losses, clean_u = alike(rng, clean_size)
    losses[:40] += 3
    return losses, u, clean_losses, clean_u


def forty_against(rng, clean_size):
    """Of the same losses, but a gradient that disagrees."""
    losses, u, clean_losses, clean_u = forty_wrong(rng, clean_size)
    losses[:40] -= 2
    u[:40] -= 4
    return losses, u, clean_losses, clean_u


def test_training_data_like_the_clean_data_is_trusted():
    """The weights are nearly those of plain training; with ten clean examples they vary more."""
    for clean_size, effective in ((100, 98), (10, 95)):
        trust = trust_after((8, alike), clean_size)
        assert trust.sum() ** 2 / np.sum(trust**2) > effective


@pytest.mark.parametrize(
    ("visits", "least", "mean"), [(forty_wrong, 0.5, 0.8), (forty_against, 0.25, 0.5)]
)
def test_wrong_labels_are_not_trusted_and_right_ones_are(visits, least, mean):
    trust = trust_after((8, visits))
    assert trust[:40].max() < 0.2 and trust[:40].sum() < 0.12 * trust.sum()
    assert trust[40:].min() > least and trust[40:].mean() > mean


def test_what_is_known_by_heart_does_not_wash_out_what_was_seen():
    """Visits at which no loss stands out do not count."""
    first = trust_after((3, forty_wrong))
    calls = iter(range(100))

    def then_by_heart(rng, clean_size):
        losses, u, clean_losses, clean_u = forty_wrong(rng, clean_size)
        if next(calls) >= 3:
            losses[:] = 1e-3
        return losses, u, clean_losses, clean_u

    later = trust_after((30, then_by_heart))
    assert first[:40].mean() < 0.3 < 0.8 < first[40:].mean()
    # The cut is as sharp as can be by then, and leaves out right ones that stood out as well.
    assert later[:40].max() < 0.1 < 0.3 < later[40:].mean()


def test_a_network_that_knows_its_examples_by_heart_gets_a_sharper_cut():
    """By odds: themselves, or those of twice the harm, to the power 16; what can learn so alone."""
    r, losses, late = np.array((0.2, 0.3, 0.6, 2 / 3, 1)), np.ones(5), 1e7
    sharp = np.array([1 / (1 + 8**16), 1 / (1 + (14 / 3) ** 16), 1 / (1 + (4 / 3) ** 16), 0.5, 1])
    # g = 16 to the power 1 − 1/G₀ is 4; where no u is above 0, the part κ goes to none.
    for clean_loss, capacity, expected, rest in (
        (0.5, 2.0, r, 1),
        (16.0, 2.0, sharp, 1 / 4),
        (16.0, 1.0, r, 1),
    ):
        # The scale of the user's weights of the clean data drops out.
        for weight in (1, 1000):
            clean = clean_of([clean_loss] * 4, [0] * 4, [weight] * 4)
            w = weighed(r, losses, np.zeros(5), clean, late, capacity)
            np.testing.assert_allclose(w, rest * expected / np.sum(expected), atol=1e-5)
    # At most by g = 20.
    half, cut = 0.5, 20**0.25 / (1 + 20**0.25)
    clean = clean_of([1000.0] * 4, [0] * 4)
    w = weighed((half, cut, 1), np.ones(3), np.zeros(3), clean, late, 2.0)
    np.testing.assert_allclose(w / w.sum(), [0, 1 / 3, 2 / 3], atol=1e-4)


def test_what_can_learn_by_heart_begins_with_a_sharp_cut_and_takes_what_is_along():
    """G₀ = 4 by 4 visits is √2 where the losses show no gap; beyond, the losses decide."""
    r, u = np.array([0, 0.5, 1]), [0.5, -1, 0.5]
    clean = clean_of([1.0] * 4, [0] * 4)
    gap = 2**0.5
    trust = np.array([0, 1 / (1 + gap), 1])
    by_heart = 1 - 1 / gap
    expected = (1 - by_heart) * trust / trust.sum() + by_heart * np.array([0, 0, 1])
    w = weighed(r, np.ones(3), u, clean, visits=4, capacity=4.0)
    np.testing.assert_allclose(w, expected, rtol=1e-5)
    # Where nothing trusted is along, that part goes to none.
    w = weighed(r, np.ones(3), [1.5, -0.1, -0.1], clean, visits=4, capacity=4.0)
    np.testing.assert_allclose(w, (1 - by_heart) * trust / trust.sum(), rtol=1e-5)
    clean = clean_of([9.0 ** (4 / 3)] * 4, [0] * 4)
    # √9 (1 − r) / r is 1 for r = 3/4.
    w = weighed((0, 3 / 4, 1), np.ones(3), [1, -0.1, 0], clean, visits=1000, capacity=4.0)
    np.testing.assert_allclose(w, np.array([0, 1 / 3, 2 / 3]) / 9, atol=1e-4)


def test_capacity_is_of_parameters_beside_examples():
    """A LeNet on Fashion-MNIST, a ResNet-8 on the digits, a wide ResNet on CIFAR-10."""
    assert likeness.capacity(168_022, 50_000) == 1
    assert likeness.capacity(75_002, 1_250) == pytest.approx(6, rel=1e-3)
    assert likeness.capacity(36_000_000, 50_000) == 20


def test_a_class_with_too_many_is_weighted_as_in_the_paper():
    """The rare one has all the weight; without it there is nothing to learn in this batch."""
    clean, r = clean_of([4.0] * 4, [0] * 4), np.full(4, 0.6)
    losses = np.array([0.1, 0.1, 0.1, 5])
    np.testing.assert_allclose(weighed(r, losses, [-1, -1, -1.5, 0.5], clean), [0, 0, 0, 1])
    np.testing.assert_array_equal(weighed(r, losses, [-1, -1, -1.2, -0.8], clean), 0)
    # With a mean u of −1/2, weighted by r, half of it goes so, and of g = 4 / ℓ to the power 1 −
    # 1/G₀ = 1/2 the root is left.
    likely = 9 / 13
    gap = (4 / ((0.1 * likely + 0.1 + 0.1 + 5) / (likely + 3))) ** 0.25
    by_heart = 1 - 1 / gap
    trust = 1 / (1 + (gap**0.5 * 0.4 / 0.6) ** gap**2)
    found = weighed([0.6, 1, 1, 1], losses, [-19 / 8, -1, 0, 5 / 8], clean, 1e7, 2.0)
    spread = (1 - by_heart) / (trust + 3)
    np.testing.assert_allclose(found[0], spread * trust / 2, rtol=1e-4)
    np.testing.assert_allclose(found[3], (spread + by_heart + 1) / 2, rtol=1e-4)


def test_weights_are_relative_and_zero_takes_an_example_out():
    """Also a visit whose u overflowed shows nothing."""
    rng = np.random.default_rng(0)
    losses, u, clean_losses, clean_u = forty_wrong(rng, 20)
    clean = clean_of(clean_losses, clean_u)
    weight = np.ones(100, "float32")
    weight[[3, 50]] = 0
    with_zeros = compared(losses, u, clean, tf.constant(weight))
    kept = weight > 0
    expected = compared(losses[kept], u[kept], clean)
    np.testing.assert_allclose(with_zeros[kept], expected, rtol=1e-4, atol=1e-6)
    scaled = clean_of(clean_losses, clean_u, np.full(20, 1000))
    np.testing.assert_allclose(
        compared(losses, u, scaled, tf.fill([100], 5.0)),
        compared(losses, u, clean),
        rtol=1e-4,
        atol=1e-6,
    )
    # The same of the weights, where all but those taken out are against.
    findings, shown = tf.constant(compared(losses, u, clean)), tf.constant(losses, tf.float32)
    against = np.where(kept, -np.abs(u), 1000).astype("float32")
    against[:5] = np.where(kept[:5], 3, 1000)
    visits = np.where(kept, 2, 1000).astype("float32")
    w = likeness.weigh(findings, shown, against, weight, clean, visits, 8.0).numpy()
    assert w[:3].min() > 0.05 and not w[~kept].any()
    w_of_kept = likeness.weigh(
        findings[kept], shown[kept], against[kept], None, clean, visits[kept], 8.0
    )
    np.testing.assert_allclose(w[kept], w_of_kept, rtol=1e-4, atol=1e-7)
    # What shows nothing leaves an example as probable as one without a visit.
    np.testing.assert_array_equal(compared(losses, u, clean, tf.zeros(100)), 0)
    no_clean = clean_of(clean_losses, clean_u, np.zeros(20))
    np.testing.assert_array_equal(compared(losses, u, no_clean), 0)
    u[7] = np.inf
    np.testing.assert_array_equal(compared(losses, u, clean), 0)
    np.testing.assert_array_equal(likeness.probability(tf.zeros((2, 2))), 1)


def test_clean_reference_is_the_clean_gradient_and_the_others_alignments():
    """v as ever; u of the second, fourth, ... against the gradient of the rest."""
    (x, y), net = data(7), network()
    weight = np.array([1, 2, 1, 0, 1, 3, 1], "float32")
    batch = tuple(tf.constant(one) for one in (x, y, weight))
    objective = Objective(net, ExampleLosses(LOSS), net.trainable_variables)
    found = clean_reference(objective, batch, get_estimator("nested"))
    loss, v = clean_gradient(objective, batch)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-6)
    for one, other in zip(found.directions[0], v, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    half = tuple(one[::2] for one in batch)
    expected = l2rw_tf.meta_gradient(net, LOSS, (x, y), half).numpy()
    np.testing.assert_allclose(found.u, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.is_held_out, [0, 1, 0, 1, 0, 1, 0])
    differences = clean_reference(objective, batch, get_estimator("finite_difference"))
    np.testing.assert_allclose(differences.u, expected, rtol=0.02, atol=1e-3)


@pytest.mark.slow
def test_noisy_labels_get_less_weight_than_from_the_paper():
    """A linear network, 40 % of the labels wrong, 20 clean examples, all meta-variables."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 420)
    x = (3 * np.eye(4)[y] + rng.normal(size=(420, 4))).astype("float32")
    wrong = rng.random(400) < 0.4
    given = np.where(wrong, (y[:400] + rng.integers(1, 4, 400)) % 4, y[:400])
    fraction = {}
    for weighting in ("paper", "history"):
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        model = l2rw_tf.ReweightingModel(net, "all", weighting=weighting)
        model.compile(keras.optimizers.Adam(0.05), LOSS)
        model.fit(
            x[:400],
            given,
            clean_data=(x[400:], y[400:]),
            batch_size=50,
            epochs=10,
            track_examples=True,
            verbose=0,
        )
        weight = model.example_record()["mean_weight"]
        fraction[weighting] = weight[wrong].sum() / weight.sum()
    assert fraction["history"] < min(0.2, fraction["paper"])
