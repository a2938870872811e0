"""A table with `keras.utils.FeatureSpace`: numbers, text categories, and a cross of two columns.

The network takes the raw columns, a dict of arrays, and encodes them itself. 30% of the labels are
wrong; 100 rows are trusted.

    python examples/tabular_feature_space.py
"""

import keras
import numpy as np
import tensorflow as tf
from keras.utils import FeatureSpace

import l2rw_tf


def make_data():
    """1,000 noisy rows, 100 trusted ones, 500 for testing; synthetic."""
    random = np.random.default_rng(0)
    n = 1600
    columns = {
        "age": random.integers(18, 80, n),
        "income": random.lognormal(10, 0.5, n).astype("float32"),
        "city": random.choice(["Bern", "Oslo", "Rome"], n).astype(object),
        "plan": random.choice(["basic", "full"], n).astype(object),
    }
    likes = columns["age"] / 60 + (columns["city"] == "Oslo") * (columns["plan"] == "full")
    y = (likes + 0.1 * random.normal(size=n) > 1).astype("int32")
    noisy = np.where(random.random(1000) < 0.3, 1 - y[:1000], y[:1000])

    def rows(start, stop):
        return {name: column[start:stop] for name, column in columns.items()}

    return (rows(0, 1000), noisy), (rows(1000, 1100), y[1000:1100]), (rows(1100, n), y[1100:])


def build_network(columns):
    """The encoding of the columns, and a small network on it."""
    space = FeatureSpace(
        features={
            "age": FeatureSpace.integer_categorical(num_oov_indices=1),
            "income": FeatureSpace.float_normalized(),
            "city": FeatureSpace.string_categorical(num_oov_indices=0),
            "plan": FeatureSpace.string_categorical(num_oov_indices=0),
        },
        crosses=[FeatureSpace.cross(("city", "plan"), crossing_dim=16)],
        output_mode="concat",
    )
    space.adapt(tf.data.Dataset.from_tensor_slices(columns))
    hidden = keras.layers.Dense(32, "relu")(space.get_encoded_features())
    return keras.Model(dict(space.get_inputs()), keras.layers.Dense(1, "sigmoid")(hidden))


def main(epochs=10):
    """Trains on the noisy rows."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network(train[0]))
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
    model.fit(*train, clean_data=clean, batch_size=100, epochs=epochs, verbose=2)
    print("Accuracy on the test rows:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
