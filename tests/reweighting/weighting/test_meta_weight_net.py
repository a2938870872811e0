"""Meta-Weight-Net against automatic differentiation and Keras's Adam."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import l2rw_tf
from l2rw_tf.reweighting.weighting.meta_weight_net import MetaWeightNet
from tests.reweighting.test_model import LOSS, data, network


def _step(weighting, losses, u, s=None):
    u, losses = tf.constant(u, tf.float32), tf.constant(losses, tf.float32)
    s = None if s is None else tf.constant(s, tf.float32)
    weighting.learn(u, losses, s)
    return weighting.weigh(u, losses, s)


def test_each_step_is_one_of_adam_down_the_clean_loss():
    """Through the weights, normalization included, by a tape; the update by keras.optimizers."""
    random = np.random.default_rng(0)
    weighting = MetaWeightNet()
    phi = [keras.Variable(one.numpy()) for one in weighting.phi]
    adam = keras.optimizers.Adam(1e-3)

    def weights(losses, s):
        hidden = tf.nn.relu(losses[:, None] @ phi[0].value + phi[1].value)
        weighted = s * tf.sigmoid(hidden @ phi[2].value + phi[3].value)[:, 0]
        return weighted / tf.reduce_sum(weighted)

    for step in range(4):
        losses, u = random.exponential(size=12), random.normal(size=12)
        s = np.ones(12) if step < 2 else random.uniform(0, 2, 12)
        found = _step(weighting, losses, u, None if step < 2 else s)
        losses, s = tf.constant(losses, tf.float32), tf.constant(s, tf.float32)
        with tf.GradientTape() as tape:
            aligned = -tf.reduce_sum(tf.constant(u, tf.float32) * weights(losses, s))
        adam.apply(tape.gradient(aligned, [one.value for one in phi]), phi)
        np.testing.assert_allclose(found, weights(losses, s), rtol=1e-4)
    for one, other in zip(weighting.phi, phi, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-5)


def _after_the_step(net, w, batch, clean, alpha):
    """What theirs has for u: −∂L^v(θ − α Σ w_i ∇ℓ_i) / α∂w_i."""

    def losses(x, y):
        return keras.losses.sparse_categorical_crossentropy(y, net(x), from_logits=True)

    theta = net.trainable_variables
    with tf.GradientTape() as outer:
        outer.watch(w)
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(w * losses(*batch))
        gradient = inner.gradient(loss, [variable.value for variable in theta])
        moved = [(one, one.value - alpha * part) for one, part in zip(theta, gradient, strict=True)]
        with keras.StatelessScope(state_mapping=moved):
            clean_loss = tf.reduce_mean(losses(*clean))
    return -outer.gradient(clean_loss, w).numpy() / alpha


def test_the_gradient_at_theta_is_nearly_the_one_after_the_step():
    """θ̂ = θ − α Σ w ∇ℓ is α away: 8 % of difference for α = 0.1 here, and 0.8 % for 0.01."""
    batch, clean, net = data(), data(20, seed=1), network()
    u = l2rw_tf.meta_gradient(net, LOSS, batch, clean).numpy()
    w = tf.random.stateless_uniform([50], (1, 2))
    w /= tf.reduce_sum(w)
    differences = []
    for alpha in (0.1, 0.01):
        theirs = _after_the_step(net, w, batch, clean, alpha)
        differences.append(np.linalg.norm(theirs - u) / np.linalg.norm(u))
    assert differences[0] < 0.1 and differences[1] < 0.15 * differences[0]


def test_training_moves_it_and_a_file_brings_it_back(tmp_path):
    (x, y), clean = data(), data(20, seed=1)

    def compiled():
        model = l2rw_tf.ReweightingModel(network(), weighting="meta_weight_net")
        model.compile(keras.optimizers.SGD(0.1), LOSS)
        return model

    model = compiled()
    start = [one.numpy() for one in model.weighting.phi]
    model.fit(x, y, clean_data=clean, epochs=2, batch_size=8, verbose=0)
    learned = [one.numpy() for one in model.weighting.phi]
    assert all(np.any(a != b) for a, b in zip(start, learned, strict=True))
    w = model.example_weights(x, y, clean_data=clean)
    assert float(tf.reduce_sum(w)) > 0.999 and float(tf.reduce_min(w)) > 0
    model.save_weights(tmp_path / "all.weights.h5")
    other = compiled()
    other.fit(x, y, clean_data=clean, epochs=1, batch_size=8, verbose=0)
    other.load_weights(tmp_path / "all.weights.h5")
    for one, other_one in zip(learned, other.weighting.phi, strict=True):
        np.testing.assert_array_equal(one, other_one.numpy())
