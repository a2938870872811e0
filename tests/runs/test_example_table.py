"""The table of the training examples."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from l2rw_tf.data import prepared_data
from l2rw_tf.data.predictions import class_probabilities
from l2rw_tf.runs import example_table, tables, training
from tests.methods.test_methods import SETTINGS


@pytest.mark.parametrize("method", ["l2rw", "plain"])
def test_labels_record_and_predictions(method, blobs):
    """Against the network itself; the record only where the method keeps one."""
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    trained = training.train(method, SETTINGS, data)
    train = data.splits.train
    found = class_probabilities(trained.network, train, data.preprocessing)
    table = example_table.example_table(data, trained, found)
    np.testing.assert_array_equal(table["id"], train.ids)
    assert np.mean(table["given_label"] != table["true_label"]) == data.wrong_label_share > 0
    logits = trained.network(data.preprocessing(train.x))
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    for name, expected in {
        "suggested_label": probabilities.argmax(axis=1),
        "suggested_probability": probabilities.max(axis=1),
        "given_probability": [
            row[label] for row, label in zip(probabilities, train.y, strict=True)
        ],
    }.items():
        np.testing.assert_allclose(table[name], expected, rtol=1e-4, err_msg=name)
    if method == "plain":
        assert not set(table) & set(tables.RECORD)
    else:
        # Every epoch goes through all training examples once.
        assert (table["times_seen"] == SETTINGS.epochs).all()
        assert np.isfinite([table[name] for name in tables.RECORD]).all()
        assert set(table) <= set(tables.EXAMPLES)


def test_a_row_of_the_record_is_its_example(blobs):
    """By the losses of a network that a tiny learning rate leaves as it was."""
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    train = data.splits.train
    assert (train.ids != np.arange(len(train))).any()
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-9)
    trained = training.train("l2rw", settings, data)
    found = class_probabilities(trained.network, train, data.preprocessing)
    table = example_table.example_table(data, trained, found)
    expected = -np.log(table["given_probability"])
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(table["mean_loss"], expected, rtol=1e-3)
