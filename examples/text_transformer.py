"""A text classifier with `TextVectorization` and a Transformer block, from raw text to a logit.

The reviews are synthetic; 30% of their labels are wrong, and 60 reviews are trusted. The network
takes strings, so `fit` needs no preprocessing, and the saved network takes strings too.

    python examples/text_transformer.py
"""

import keras
import numpy as np
from keras import layers

import l2rw_tf

GOOD, BAD = ("good", "great", "loved", "superb"), ("bad", "poor", "hated", "dull")
OTHER = ("the", "film", "plot", "actors", "was", "and", "music", "really")


def make_data():
    """600 noisy reviews, 60 trusted ones, 400 for testing; 1 is a good review."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 1060)
    words = random.choice(OTHER, (len(y), 8))
    words[:, 3] = np.where(y, random.choice(GOOD, len(y)), random.choice(BAD, len(y)))
    texts = np.array([" ".join(random.permutation(row)) for row in words], dtype=object)
    noisy = np.where(random.random(600) < 0.3, 1 - y[:600], y[:600])
    return (texts[:600], noisy), (texts[600:660], y[600:660]), (texts[660:], y[660:])


def build_network(texts, width=16):
    """Tokens, an embedding, one Transformer block, a mean over the words, a logit."""
    vectorize = layers.TextVectorization(max_tokens=100, output_sequence_length=8)
    vectorize.adapt(texts)
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(vectorize.vocabulary_size(), width)(vectorize(inputs))
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(x, x)
    x = layers.LayerNormalization()(x + attended)
    x = layers.LayerNormalization()(x + layers.Dense(width)(layers.Dense(32, "relu")(x)))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(1)(x))


def main(epochs=6):
    """Trains on the noisy reviews."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network(train[0]))
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )
    model.fit(*train, clean_data=clean, batch_size=50, epochs=epochs, verbose=2)
    print("Accuracy on the test reviews:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
