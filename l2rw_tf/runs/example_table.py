"""The table of the training examples: labels, recorded weights, and the network's predictions."""

from __future__ import annotations

import numpy as np

from l2rw_tf import quality
from l2rw_tf.data.origins import content_hash
from l2rw_tf.data.predictions import class_probabilities
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.runs import tables
from l2rw_tf.runs.training import Training


def example_table(
    data: PreparedData, trained: Training, probabilities: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the columns of examples.csv, one row per training example, in order.

    Args:
        data: The data of the training.
        trained: The finished training whose record of weights to use.
        probabilities: Predictions for the training examples, (n, classes), by the network that
            ranks the labels.

    Returns:
        `id`, `origin`, `given_label`, `true_label` (if known), the record of the example's weights
        (if the method keeps one), the predicted `suggested_label`, `given_probability` and
        `suggested_probability`, and `content_hash`; each (n,).
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
    return table | _predictions(probabilities, train.y)


def clean_example_table(data: PreparedData, trained: Training) -> dict[str, np.ndarray]:
    """Returns the columns of clean_examples.csv, one row per clean example, in order.

    Args:
        data: The data of the training.
        trained: The finished training whose network predicts the labels.

    Returns:
        `id`, `origin`, `given_label`, `true_label` (if known), `suggested_label`,
        `given_probability`, `suggested_probability` and `doubtful` (0 or 1); each (n,).
    """
    clean = data.splits.clean
    table = {"id": clean.ids, "origin": clean.origins, "given_label": clean.y}
    if clean.true_y is not None:
        table["true_label"] = clean.true_y
    probabilities = class_probabilities(trained.network, clean, data.preprocessing)
    doubtful = quality.doubtful(probabilities, clean.y)
    return table | _predictions(probabilities, clean.y) | {"doubtful": doubtful}


def _predictions(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    rows, suggested = np.arange(len(labels)), probabilities.argmax(axis=1)
    return {
        "suggested_label": suggested,
        "given_probability": probabilities[rows, labels],
        "suggested_probability": probabilities[rows, suggested],
    }
