from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.methods.bootstrapping import Bootstrapping
from l2rw_tf.methods.gce import GeneralizedCrossEntropy
from l2rw_tf.methods.hard_mining import HardMining

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(scale=3, size=(12, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 12)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def gradient(loss, logits=LOGITS):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss.call(tf.constant(LABELS), logits))
    return tape.gradient(total, logits).numpy()


def differences(loss_of, logits):
    """Central differences of a NumPy function, in float64."""
    found = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        found[place] = (loss_of(logits + step) - loss_of(logits - step)) / 2e-5
    return found


@pytest.mark.parametrize("kind, beta", [("soft", 0.95), ("soft", 0.5), ("hard", 0.8), ("hard", 0)])
def test_bootstrapping_mixes_the_prediction_into_the_target(kind, beta):
    def expected(logits):
        q = softmax(logits)
        mixed_in = q if kind == "soft" else np.eye(4)[q.argmax(axis=1)]
        target = beta * np.eye(4)[LABELS] + (1 - beta) * mixed_in
        return -(target * np.log(q)).sum(axis=1)

    loss = Bootstrapping(kind, beta)
    found = loss.call(tf.constant(LABELS), tf.constant(LOGITS))
    np.testing.assert_allclose(found, expected(LOGITS.astype(np.float64)), rtol=1e-5, atol=1e-6)
    slopes = differences(lambda logits: expected(logits).sum(), LOGITS.astype(np.float64))
    np.testing.assert_allclose(gradient(loss), slopes, rtol=1e-3, atol=1e-4)


def test_bootstrapping_with_the_given_label_alone_is_cross_entropy():
    usual = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for kind in ("soft", "hard"):
        loss = Bootstrapping(kind, 1.0)
        assert float(loss(LABELS, LOGITS)) == pytest.approx(float(usual(LABELS, LOGITS)), rel=1e-5)


@pytest.mark.parametrize("exponent", [0.1, 0.7])
def test_generalized_cross_entropy_is_that_of_keras(exponent):
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(q=exponent)
    ours = GeneralizedCrossEntropy(exponent)
    expected = float(theirs(LABELS, softmax(LOGITS)))
    assert float(ours(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_generalized_cross_entropy_keeps_a_finite_gradient_at_vanishing_probabilities():
    logits = np.where(np.eye(4)[LABELS] == 1, -200, 200).astype(np.float32)
    assert np.isfinite(gradient(GeneralizedCrossEntropy(0.7), logits)).all()


def hardest(labels, values, majority, num_classes):
    """The examples that hard mining keeps, one comparison at a time."""
    others = [place for place, label in enumerate(labels) if label != majority]
    candidates = [place for place, label in enumerate(labels) if label == majority]
    wanted = max(1, int(np.ceil(len(others) / (num_classes - 1))))
    for _ in range(wanted):
        if candidates:
            worst = max(candidates, key=lambda place: values[place])
            candidates.remove(worst)
            others.append(worst)
    return sorted(others)


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        ([1, 1, 0, 1, 1, 1, 0, 1], 2),
        ([1, 1, 1, 1, 1, 1, 1, 1], 2),
        ([0, 0, 0, 1, 0, 0, 0, 0], 2),
        ([0, 0, 0, 0, 0, 0, 0, 0], 2),
        ([0, 2, 1, 1, 1, 3, 3, 1], 4),
    ],
    ids=str,
)
def test_hard_mining_keeps_the_hardest_of_the_majority_and_all_others(labels, num_classes):
    labels = np.array(labels)
    logits = RANDOM.normal(size=(len(labels), num_classes)).astype(np.float32)
    values = -np.log(softmax(logits.astype(np.float64)))[np.arange(len(labels)), labels]
    kept = hardest(labels, values, 1, num_classes)
    loss = HardMining(1, num_classes)
    found = loss.call(tf.constant(labels), tf.constant(logits)).numpy()
    assert sorted(np.flatnonzero(found)) == kept
    # Keras takes the mean over the whole batch.
    assert float(loss(labels, logits)) == pytest.approx(values[kept].mean(), rel=1e-5)


def test_equally_hard_examples_are_kept_in_their_order():
    loss = HardMining(0, 2)
    kept = loss.kept(tf.constant([0, 0, 0, 1]), tf.constant([2.0, 2.0, 2.0, 0.1]))
    assert kept.numpy().tolist() == [True, False, False, True]
