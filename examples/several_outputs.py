"""Two outputs with separate losses: which digit, and how much ink.

An example has one weight, for the sum of its losses. 40% of the digits are mislabeled; the trusted
examples have labels for both outputs. With `loss={"digit": ..., "ink": None}`, no labels are needed
for the ink.

    python examples/several_outputs.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import l2rw_tf


def make_data():
    """800 noisy digits, 100 trusted ones, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    ink = x.mean(axis=1, keepdims=True)
    random = np.random.default_rng(0)
    noisy = np.where(random.random(800) < 0.4, random.integers(0, 10, 800), y[:800])

    def labels(digits, rows):
        return {"digit": digits, "ink": ink[rows]}

    return (
        (x[:800], labels(noisy, slice(0, 800))),
        (x[800:900], labels(y[800:900], slice(800, 900))),
        (x[900:], labels(y[900:], slice(900, None))),
    )


def build_network():
    """A multilayer perceptron with one hidden layer and two outputs."""
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(64, "relu")(inputs)
    digit = keras.layers.Dense(10, "softmax", name="digit")(hidden)
    ink = keras.layers.Dense(1, name="ink")(hidden)
    return keras.Model(inputs, {"digit": digit, "ink": ink})


def main(epochs=10):
    """Trains on the noisy digits."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network())
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss={"digit": "sparse_categorical_crossentropy", "ink": "mean_squared_error"},
        loss_weights={"digit": 1.0, "ink": 5.0},
        metrics={"digit": "accuracy", "ink": "mean_absolute_error"},
    )
    model.fit(*train, clean_data=clean, batch_size=100, epochs=epochs, verbose=2)
    print("On the test digits:", model.evaluate(*test, verbose=0, return_dict=True))
    return model


if __name__ == "__main__":
    main()
