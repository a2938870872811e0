"""Checkpoints: a `ReweightingModel` is saved during training, loaded, and trained further.

A saved `ReweightingModel` is one .keras file with the network, the optimizer and the record of the
examples. `keras.saving.load_model` loads it; pass the data to `fit` again.

    python examples/checkpoint.py
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import l2rw_tf


def make_data():
    """800 noisy digits, 100 trusted ones, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    random = np.random.default_rng(0)
    noisy = np.where(random.random(800) < 0.4, random.integers(0, 10, 800), y[:800])
    return (x[:800], noisy), (x[800:900], y[800:900]), (x[900:], y[900:])


def build_network():
    """A multilayer perceptron to probabilities."""
    return keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
    )


def main(epochs=6):
    """Trains for half of the epochs, loads the checkpoint, and trains for the other half."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network())
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    fit = {"clean_data": clean, "batch_size": 100, "track_examples": True, "verbose": 2}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.keras"
        checkpoint = keras.callbacks.ModelCheckpoint(path)
        model.fit(*train, epochs=epochs // 2, callbacks=[checkpoint], **fit)
        model = keras.saving.load_model(path)
    model.fit(*train, initial_epoch=epochs // 2, epochs=epochs, **fit)
    print("Accuracy on the test digits:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
