"""Early-learning regularization against the published formula in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.methods.early_learning import EarlyLearningModel

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 3)).astype(np.float32)
Y = RANDOM.integers(0, 4, 30)


def _model(**arguments):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(4, bias_initializer="normal")(inputs))
    model = EarlyLearningModel(network, 30, **arguments)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.3), loss, metrics=["accuracy"])
    return network, model


def test_loss_targets_and_update_are_those_of_a_slow_version():
    """λ = 2, β = 0.6; the gradient by the logits is p − e_y + λ p (t̄ − t) / (1 − ⟨p, t⟩)."""
    network, model = _model(strength=2.0, momentum=0.6)
    kernel, bias = (np.float64(one) for one in network.get_weights())
    targets = np.zeros((30, 4))
    for rows in (np.arange(20), np.arange(10, 30), np.arange(0, 30, 3)):
        logits = X[rows] @ kernel + bias
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets[rows] = 0.6 * targets[rows] + 0.4 * p
        t = targets[rows]
        agreement = (p * t).sum(axis=1, keepdims=True)
        expected = -np.log(p[np.arange(len(rows)), Y[rows]]).mean()
        expected += 2 * np.log(1 - agreement).mean()
        slope = (p - np.eye(4)[Y[rows]] + 2 * p * (agreement - t) / (1 - agreement)) / len(rows)
        kernel, bias = kernel - 0.3 * X[rows].T @ slope, bias - 0.3 * slope.sum(axis=0)
        # Keras before 3.15 adds up the loss over calls.
        model.reset_metrics()
        loss = model.train_on_batch(X[rows], Y[rows], sample_weight=rows)[0]
        assert float(loss) == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(model.targets.numpy(), targets, atol=1e-3)
    for found, value in zip(network.get_weights(), (kernel, bias), strict=True):
        np.testing.assert_allclose(found, value, atol=1e-3)


def test_outside_of_training_it_is_the_cross_entropy_and_nothing_moves():
    network, model = _model()
    before = model.targets.numpy()
    expected = keras.losses.sparse_categorical_crossentropy(Y, network(X), from_logits=True)
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(float(np.mean(expected)), rel=1e-5)
    np.testing.assert_array_equal(model.targets.numpy(), before)
    assert model.targets in model.variables


def test_without_strength_it_is_plain_training():
    network, model = _model(strength=0.0)
    data = tf.data.Dataset.from_tensor_slices((X, Y, np.arange(30))).batch(10)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    plain, _ = _model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.SGD(0.3), loss)
    plain.fit(X, Y, epochs=2, batch_size=10, shuffle=False, verbose=0)
    for found, expected in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
