"""The table of the training examples: labels, record of the weights, and what the network says."""

from __future__ import annotations

import keras
import numpy as np

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.origins import content_hash
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.runs import tables
from l2rw_tf.runs.training import Training


def example_table(data: PreparedData, trained: Training) -> dict[str, np.ndarray]:
    """Returns the table by column, with a row per training example, in their order.

    Args:
        data: What was trained on.
        trained: A finished training.

    Returns:
        `id`, `origin`, `given_label`, `true_label` (if it is known), the record of the example's
        weights (if the method keeps one), of the trained network `suggested_label`,
        `given_probability` and `suggested_probability`, and `content_hash`; each (n,).
    """
    train = data.splits.train
    table = {"id": train.ids, "given_label": train.y, "content_hash": content_hash(train)}
    if train.origins is not None:
        table["origin"] = train.origins
    if train.true_y is not None:
        table["true_label"] = train.true_y
    if trained.example_record is not None:
        table |= {
            name: trained.example_record[name]
            for name in tables.RECORD
            if name in trained.example_record
        }
    probabilities = class_probabilities(trained.network, train, data.preprocessing)
    rows = np.arange(len(train))
    suggested = probabilities.argmax(axis=1)
    return table | {
        "suggested_label": suggested,
        "given_probability": probabilities[rows, train.y],
        "suggested_probability": probabilities[rows, suggested],
    }


def class_probabilities(
    network: keras.Model, examples: Examples, preprocessing: Preprocessing
) -> np.ndarray:
    """Returns what a network that gives logits says of the examples, (n, classes) float32."""
    logits = class_logits(network, examples, preprocessing).astype("float32")
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def class_logits(
    network: keras.Model, examples: Examples, preprocessing: Preprocessing
) -> np.ndarray:
    """Returns the outputs of a network for all examples, in their order, (n, classes)."""
    batches = pipeline.evaluation_batches(examples, preprocessing)
    return network.predict(batches.map(lambda x, y: x), verbose=0)
