"""Gradient accumulation: small batches that fit into memory, one update for several of them.

`gradient_accumulation_steps` of Keras's optimizers works with reweighting. The weights sum to 1 in
each small batch, and an update uses the mean gradient of four batches.

    python examples/gradient_accumulation.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import l2rw_tf


def make_data():
    """800 noisy digits, 100 trusted ones, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    random = np.random.default_rng(0)
    noisy = np.where(random.random(800) < 0.4, random.integers(0, 10, 800), y[:800])
    return (x[:800], noisy), (x[800:900], y[800:900]), (x[900:], y[900:])


def build_network():
    """A small convolutional network to probabilities."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def main(epochs=10):
    """Trains on the noisy digits in batches of 20, with one update for four batches."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network())
    model.compile(
        keras.optimizers.Adam(3e-3, gradient_accumulation_steps=4),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        *train, clean_data=clean, batch_size=20, clean_batch_size=50, epochs=epochs, verbose=2
    )
    print("Accuracy on the test digits:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
