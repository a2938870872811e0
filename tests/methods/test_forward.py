"""Forward and gold loss correction against the published formulas, worked by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.methods import forward
from l2rw_tf.methods.gold_loss_correction import gold_matrix

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype(np.float32)
Y = RANDOM.integers(0, 4, 40)
ROWS = np.arange(40)
T = RANDOM.dirichlet(np.ones(4), 4)


def _compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    return model


def _probabilities(network):
    exponentials = np.exp(np.asarray(network(X), np.float64))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_the_true_matrix_counts():
    found = forward.true_matrix(np.array([0, 1, 1, 2, 0]), np.array([0, 0, 1, 1, 0]), 4)
    expected = [[2 / 3, 1 / 3, 0, 0], [0, 1 / 2, 1 / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(found, expected)


def test_an_anchor_is_the_example_that_looks_most_like_its_class_but_for_outliers():
    probabilities = RANDOM.dirichlet(np.ones(3), 101)
    found = forward.anchor_matrix(probabilities)
    for label in range(3):
        # 3 of the 100 others are above it.
        larger = probabilities[:, label] > found[label, label]
        assert larger.sum() == 3 and found[label] in probabilities


def test_the_gold_matrix_is_the_mean_prediction_for_clean_examples_of_a_class():
    probabilities = np.array([[0.5, 0.5, 0], [0.7, 0.1, 0.2], [0, 0.2, 0.8]])
    found = gold_matrix(probabilities, np.array([0, 0, 2]))
    np.testing.assert_allclose(found, [[0.6, 0.3, 0.1], [0, 1, 0], [0, 0.2, 0.8]])


def test_the_loss_is_that_of_the_labels_which_noise_makes(network):
    model = _compiled(forward.CorrectedModel(network, T))
    given = _probabilities(network) @ T
    loss = model.compute_loss(X, Y, network(X), None, training=True)
    assert float(loss) == pytest.approx(-np.log(given[ROWS, Y]).mean(), rel=1e-5)
    # What is evaluated is the network alone.
    plain = -np.log(_probabilities(network)[ROWS, Y]).mean()
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(plain, rel=1e-5)


def test_right_labels_are_not_corrected(network):
    model = _compiled(forward.CorrectedModel(network, T, num_noisy=30))
    order = RANDOM.permutation(40)
    probabilities = _probabilities(network)
    by_row = np.where(ROWS[:, None] < 30, probabilities @ T, probabilities)
    loss = model.compute_loss(X[order], Y[order], network(X[order]), tf.constant(order), True)
    assert float(loss) == pytest.approx(-np.log(by_row[ROWS, Y]).mean(), rel=1e-5)
    history = model.fit(X, Y, sample_weight=ROWS, epochs=3, batch_size=40, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_without_noise_it_is_plain_training(network):
    other = keras.models.clone_model(network)
    other.set_weights(network.get_weights())
    model = forward.CorrectedModel(network, np.eye(4))
    for one in (model, other):
        _compiled(one).fit(X, Y, epochs=3, batch_size=10, shuffle=False, verbose=0)
    for found, expected in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
