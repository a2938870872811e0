"""Transfer learning in two phases: first a new head on a frozen backbone, then the last blocks too.

A network of `keras.applications` gets a new head for ten classes; 40% of the labels are wrong, and
100 images are trusted. In phase 1 the backbone is frozen, so the meta-gradient goes through the
head alone. Phase 2 fine-tunes the last two blocks of the backbone at a small learning rate.

    python examples/transfer_learning.py             # random weights: shows the calls, in seconds
    python examples/transfer_learning.py imagenet    # downloads the pretrained weights
"""

import sys

import keras
import numpy as np
from sklearn.datasets import load_digits

import l2rw_tf


def make_data():
    """Digits as 32x32 color images: 400 noisy, 100 trusted, the rest for testing."""
    x, y = load_digits(return_X_y=True)
    images = x.reshape(-1, 8, 8).repeat(4, axis=1).repeat(4, axis=2)
    images = np.stack([images] * 3, axis=-1).astype("float32") * (255 / 16)
    random = np.random.default_rng(0)
    noisy = np.where(random.random(400) < 0.4, random.integers(0, 10, 400), y[:400])
    return (images[:400], noisy), (images[400:500], y[400:500]), (images[500:], y[500:])


def build_network(weights=None):
    """A frozen MobileNet under a new head."""
    backbone = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=weights, pooling="avg"
    )
    backbone.trainable = False
    inputs = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    # training=False: batch normalization stays in inference mode when the backbone is unfrozen.
    features = backbone(scaled, training=False)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(features))


def unfreeze_last_blocks(network):
    """Makes the last two blocks of the backbone trainable."""
    backbone = network.layers[2]
    backbone.trainable = True
    for layer in backbone.layers[:-13]:
        layer.trainable = False


def main(weights=None, epochs=2):
    """Trains the head, then the head and the last blocks."""
    train, clean, test = make_data()
    network = build_network(weights)
    model = l2rw_tf.ReweightingModel(network)
    for learning_rate in (1e-2, 1e-4):
        # As in Keras, a change of `trainable` takes effect at the next compile.
        model.compile(
            keras.optimizers.Adam(learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        model.fit(*train, clean_data=clean, batch_size=100, epochs=epochs, verbose=2)
        unfreeze_last_blocks(network)
    print("Accuracy on the test images:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main(*sys.argv[1:])
