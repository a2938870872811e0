"""What the benchmark counts in the graph of a step after TensorFlow's optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import l2rw_tf
from benchmarks import input_pipeline, keras_steps, operations


def convolutions(model, data):
    counted = operations.count(operations.optimized_graph(model, data))
    return [counted[operation] for operation in operations.CONVOLUTIONS]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # Three convolutions forward, back to the inputs of all but the first, and to three kernels.
        ("plain", [3, 2, 3]),
        # That twice, and for u forward along v (3) and along the derivative (2).
        ("exact:2", [11, 4, 6]),
    ],
)
def test_a_step_has_no_convolution_too_many(variant, expected):
    variant = keras_steps.Variant.parse(variant)
    assert convolutions(*keras_steps.model_and_data("lenet", 4, variant)) == expected


def test_fit_on_arrays_that_the_batch_size_divides_has_none_too_many():
    network, shape = keras_steps.build("lenet")
    model = l2rw_tf.ReweightingModel(network)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.zeros((8, *shape), "float32"), np.zeros(8, int)
    data = {"x": x, "y": y, "batch_size": 4, "clean_data": (x[:2], y[:2])}
    assert convolutions(model, data) == [11, 4, 6]


def test_the_input_pipeline_has_a_rate_for_every_kind_of_data(monkeypatch):
    monkeypatch.setattr(input_pipeline, "_BATCHES", 2)
    rows = [row.split("|")[1:-1] for row in input_pipeline.pipeline_table()][2:]
    assert [row[0].strip() for row in rows] == ["28x28x1", "28x28x1", "32x32x3", "100"]
    assert all(float(row[2].replace(",", "")) > 0 for row in rows)
