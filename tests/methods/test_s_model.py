from __future__ import annotations

import keras
import numpy as np

from l2rw_tf.methods import s_model

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype(np.float32)
Y = RANDOM.integers(0, 4, 40)


def probabilities(logits):
    exponentials = np.exp(np.asarray(logits, np.float64))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def start():
    matrix = RANDOM.uniform(0.1, 1, (4, 4))
    return matrix / matrix.sum(axis=1, keepdims=True)


def test_the_output_is_what_the_labels_given_are_expected_to_be(network):
    matrix = start()
    model = s_model.adapted(network, matrix)
    given = np.exp(np.asarray(model(X, training=True), np.float64))
    np.testing.assert_allclose(given, probabilities(network(X)) @ matrix, rtol=1e-5)
    np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-5)


def test_outside_of_training_the_network_answers_alone(network):
    model = s_model.adapted(network, start())
    np.testing.assert_array_equal(model(X), network(X))
    np.testing.assert_array_equal(model.predict(X, verbose=0), network.predict(X, verbose=0))


def test_the_network_and_the_transitions_learn_and_stay_probabilities(network):
    model = s_model.adapted(network, s_model.uniform_start(4))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss)
    before = [np.array(variable) for variable in model.trainable_variables]
    history = model.fit(X, Y, epochs=20, batch_size=40, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert len(model.trainable_variables) == len(network.trainable_variables) + 1
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(variable, value)
    matrix = probabilities(model.layers[-1].transition_logits)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    given = np.exp(np.asarray(model(X, training=True), np.float64))
    np.testing.assert_allclose(given, probabilities(network(X)) @ matrix, rtol=1e-5)


def test_the_uniform_start():
    expected = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]
    np.testing.assert_allclose(s_model.uniform_start(3), expected)


def test_the_confusion_start_counts_predictions_against_labels(network):
    batches = [(X[:25], Y[:25]), (X[25:], Y[25:])]
    found = s_model.confusion_start(network, batches)
    expected = np.zeros((4, 4))
    for probability, label in zip(probabilities(network(X)), Y, strict=True):
        expected[:, label] += probability
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_confusion_that_never_occurs_still_has_a_logarithm():
    inputs = keras.Input((2,))
    sure = keras.Model(inputs, keras.layers.Rescaling(1000.0)(inputs))
    found = s_model.confusion_start(sure, [(np.eye(2, dtype=np.float32), [0, 1])])
    np.testing.assert_allclose(found, np.eye(2), atol=2e-4)
    assert (found > 0).all()
    model = s_model.adapted(sure, found)
    assert np.isfinite(model(np.eye(2), training=True)).all()


def test_half_precision_keeps_the_layer_in_full(network):
    layer = s_model.NoiseAdaptation(start())
    assert layer.compute_dtype == "float32"
    assert layer(np.zeros((2, 4), np.float16), training=True).dtype == "float32"
