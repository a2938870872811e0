"""A custom training loop with `meta_gradient`, `normalize` and an optimizer step.

`meta_gradient` returns the signed u of a batch and changes nothing; the loop decides how to use it.
Here `normalize` turns u into the paper's weights, and the loss has an additional penalty on the
logits.

    python examples/own_training_loop.py
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import l2rw_tf

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


def make_data():
    """800 noisy digits, 100 trusted ones, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    random = np.random.default_rng(0)
    noisy = np.where(random.random(800) < 0.4, random.integers(0, 10, 800), y[:800])
    return (x[:800], noisy), (x[800:900], y[800:900]), (x[900:], y[900:])


def build_network():
    """A multilayer perceptron to logits."""
    return keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    )


def main(epochs=10):
    """Trains on the noisy digits."""
    train, clean, test = make_data()
    network, optimizer = build_network(), keras.optimizers.Adam(3e-3)
    optimizer.build(network.trainable_variables)
    # meta_gradient takes the same losses as `compile`, with their default reduction.
    meta_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        w = l2rw_tf.normalize(l2rw_tf.meta_gradient(network, meta_loss, (x, y), clean))
        with tf.GradientTape() as tape:
            logits = network(x, training=True)
            penalty = 1e-3 * tf.reduce_mean(tf.square(logits))
            loss = tf.reduce_sum(w * LOSS(y, logits)) + penalty
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    batches = tf.data.Dataset.from_tensor_slices(train).shuffle(800, seed=0)
    for epoch in range(epochs):
        losses = [step(x, y) for x, y in batches.batch(100, drop_remainder=True)]
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}")
    correct = network.predict(test[0], verbose=0).argmax(axis=1) == test[1]
    print("Accuracy on the test digits:", correct.mean())
    return network


if __name__ == "__main__":
    main()
