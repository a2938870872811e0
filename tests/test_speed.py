"""What the benchmark counts in the graph of a step after TensorFlow's optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import l2rw_tf
from benchmarks import input_pipeline, keras_steps, operations, savings


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


def test_the_savings_are_measured_as_they_were_trained():
    methods = (
        "plain",
        "l2rw:learning_rate=0.02",
        "l2rw:learning_rate=0.02:clean_batch_size=10",
        "l2rw:reweight_every=2",
        "l2rw:meta_variables=last_block",
    )
    variants = [savings.variant(method) for method in methods]
    assert variants == ["plain", "exact:100", "exact:10", "every2:100", "last_block:100"]
    names = ["plain", "all variables", "clean batches of 10", "every 2nd step", "last block"]
    assert [savings.name(variant) for variant in variants] == names
    model, _ = keras_steps.model_and_data("mlp", 4, keras_steps.Variant.parse("every2:2"))
    assert model.reweight_every == 2
    _, shape = keras_steps.build("resnet20@16")
    assert shape == (16, 16, 3)


@pytest.mark.parametrize(
    "method",
    [
        "gce",
        "plain:early_stopping=true",
        "l2rw:weighting=paper",
        "l2rw:meta_variables=head:clean_batch_size=10",
    ],
)
def test_a_method_without_a_measured_step_is_refused(method):
    with pytest.raises(ValueError, match=method):
        savings.variant(method)


def test_the_table_and_the_picture_of_the_savings():
    row = {
        "dataset": "digits",
        "step": "plain",
        "plain_steps": "1.000",
        "plain_steps_low": "0.950",
        "plain_steps_high": "1.100",
        "test_accuracy_mean": "0.5",
        "test_accuracy_std": "0.01",
        "clean_chosen_test_accuracy_mean": "0.55",
        "difference_from_first_method": "",
        "difference_standard_error": "",
    }
    head = row | {
        "step": "head",
        "plain_steps": "1.300",
        "plain_steps_low": "1.200",
        "plain_steps_high": "1.350",
        "test_accuracy_mean": "0.6",
        "difference_from_first_method": "0.1",
        "difference_standard_error": "0.02",
    }
    lines = list(savings.table([row, head]))
    assert lines[2:] == [
        "| plain | 1.00 | 50.0 ± 1.0 | 55.0 |  |",
        "| head | 1.30 | 60.0 ± 1.0 | 55.0 | +10.0 ± 2.0 |",
    ]
    (axes,) = savings.picture([row, head]).axes
    assert [text.get_text() for text in axes.texts] == ["plain", "head"]
    assert [tuple(text.xy) for text in axes.texts] == [(1.0, 50.0), (1.3, 60.0)]
