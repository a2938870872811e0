"""A KerasHub task: raw text goes to `fit`, and the task's own preprocessing is applied.

A task takes raw text in `fit`, `evaluate` and `predict` and tokenizes it before calling its layers.
`ReweightingModel` does the same with training data, trusted examples and validation data.

    pip install keras-hub
    python examples/keras_hub_task.py
"""

import keras
import keras_hub
import numpy as np

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


def build_network():
    """A BERT classifier; `BertTextClassifier.from_preset(...)` builds a pretrained one."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *OTHER]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocabulary)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=12,
    )
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12)
    return keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=preprocessor)


def main(epochs=6):
    """Trains on the noisy reviews."""
    train, clean, test = make_data()
    model = l2rw_tf.ReweightingModel(build_network())
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*train, clean_data=clean, batch_size=50, epochs=epochs, verbose=2)
    print("Accuracy on the test reviews:", model.evaluate(*test, verbose=0)[1])
    return model


if __name__ == "__main__":
    main()
