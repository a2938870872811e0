"""Mixed precision: the network computes in half precision; its variables and u stay in float32.

With "mixed_float16", Keras scales the loss; `ReweightingModel` also scales the clean gradient and
u. A step that overflows is skipped, as in Keras. "mixed_bfloat16" needs no scaling.

    python examples/mixed_precision.py
"""

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


def build_network(policy="mixed_float16"):
    """A multilayer perceptron that computes in half precision, except for its last layer."""
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(64, "relu", dtype=policy)(inputs)
    hidden = keras.layers.Dense(64, "relu", dtype=policy)(hidden)
    outputs = keras.layers.Dense(10, "softmax", dtype="float32")(hidden)
    # The network's own policy tells `compile` to scale the loss.
    network = keras.Model(inputs, outputs)
    network.dtype_policy = policy
    return network


def main(policy="mixed_float16", epochs=10):
    """Trains on the noisy digits."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network(policy))
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(*train, clean_data=clean, batch_size=100, epochs=epochs, verbose=2)
    print("Accuracy on the test digits:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
