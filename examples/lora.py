"""LoRA: adapts a trained network to new, noisy data with a few low-rank parameters.

`layer.enable_lora(rank)` freezes a kernel and adds the product of two small matrices to it. The
meta-gradient goes through trainable variables only, here the adapters, and costs less.

    python examples/lora.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import l2rw_tf


def make_data():
    """Upright digits; rotated digits: 600 noisy, 100 trusted, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    turned = np.rot90(x.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64).copy()
    random = np.random.default_rng(0)
    noisy = np.where(random.random(600) < 0.4, random.integers(0, 10, 600), y[600:1200])
    new = (turned[600:1200], noisy), (turned[1200:1300], y[1200:1300]), (turned[1300:], y[1300:])
    return (x[:600], y[:600]), *new


def build_network():
    """A multilayer perceptron to logits."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dense(10),
        ]
    )


def main(epochs=20):
    """Trains on upright digits with plain Keras, then adapts the network to rotated ones."""
    upright, train, clean, test = make_data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network = build_network()
    network.compile("adam", loss)
    network.fit(*upright, epochs=10, verbose=0)

    for layer in network.layers[:-1]:
        layer.enable_lora(rank=8)
    print(f"{sum(v.numpy().size for v in network.trainable_variables):,} trainable parameters")
    model = l2rw_tf.ReweightingModel(network)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    print("Accuracy before:", model.evaluate(*test, verbose=0)[1])
    model.fit(*train, clean_data=clean, batch_size=50, epochs=epochs, verbose=0)
    print("Accuracy after:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
