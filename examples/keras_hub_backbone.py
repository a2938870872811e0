"""A KerasHub backbone, built from its configuration, with a custom head.

Same as text_transformer.py, with DistilBERT in place of the Transformer block. To use pretrained
weights, build it with `from_preset("distil_bert_base_en")`; then freeze the backbone first
(transfer_learning.py), or train it with LoRA (lora.py).

    pip install keras-hub
    python examples/keras_hub_backbone.py
"""

import keras
import keras_hub
import numpy as np
from keras import layers, ops

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


def build_network(texts):
    """Tokens, DistilBERT with two small layers, a head on the mean over the tokens."""
    vectorize = layers.TextVectorization(max_tokens=100, output_sequence_length=8)
    vectorize.adapt(texts)
    backbone = keras_hub.models.DistilBertBackbone(
        vocabulary_size=vectorize.vocabulary_size(),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )
    inputs = keras.Input((), dtype="string")
    tokens = vectorize(inputs)
    hidden = backbone({"token_ids": tokens, "padding_mask": ops.not_equal(tokens, 0)})
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(hidden)))


def main(epochs=6):
    """Trains on the noisy reviews."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network(train[0]))
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*train, clean_data=clean, batch_size=50, epochs=epochs, verbose=2)
    print("Accuracy on the test reviews:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
