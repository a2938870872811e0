"""metrics.csv and examples.csv."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from l2rw_tf.errors import UsageError
from l2rw_tf.runs import tables
from l2rw_tf.runs.run_directory import RunDirectory

ROW = {"method": "plain", "epoch": 1, "phase": "main", "step": 7, "test_accuracy": 0.1 + 0.2}


def test_metrics_come_back_from_the_file(tmp_path):
    """Whole numbers, every digit, and no columns that a row lacks."""
    rows = [ROW, {**ROW, "epoch": 2, "clean_loss": 1e-300}]
    tables.write_metrics(RunDirectory(tmp_path), rows)
    assert tables.read_metrics(tmp_path) == rows
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(tables.METRICS)


def test_examples_come_back_from_the_file(tmp_path):
    """Every digit of a float32; a value that is not there is an empty cell."""
    table = {
        "mean_u": np.array([1 / 3, np.nan], np.float32),
        "id": np.array([3, 1]),
        "given_probability": np.array([0.1, 1e-30], np.float32),
        "label_quality": np.array([0.1, 1 / 3]),
        "given_label": np.array([0, 1]),
        "suggested_label": np.array([1, 1]),
    }
    tables.write_examples(RunDirectory(tmp_path), table)
    header, first, second = (tmp_path / "examples.csv").read_text(encoding="utf-8").splitlines()
    assert header == "id,given_label,mean_u,suggested_label,given_probability,label_quality"
    assert first.startswith("3,0,0.33333334,1,") and second.startswith("1,1,,1,")
    found = tables.read_examples(tmp_path, num_classes=2)
    assert set(found) == set(table)
    for name, column in found.items():
        assert column.dtype == tables.EXAMPLES[name]
        np.testing.assert_array_equal(column, table[name])


def test_clean_examples_come_back_doubtful_ones_first(tmp_path):
    table = {
        "id": np.arange(3),
        "origin": np.array(["./clean/=1.png", "./clean/2.png", "./clean/3.png"]),
        "given_label": np.array([0, 1, 1]),
        "suggested_label": np.array([0, 0, 0]),
        "given_probability": np.array([0.9, 0.3, 0.01], np.float32),
        "suggested_probability": np.array([0.9, 0.7, 0.9], np.float32),
        "doubtful": np.array([False, False, True]),
    }
    tables.write_clean_examples(RunDirectory(tmp_path), table)
    found = tables.read_clean_examples(tmp_path, num_classes=2)
    assert found["id"].tolist() == [2, 1, 0] and found["doubtful"].tolist() == [1, 0, 0]
    assert set(found) == set(table) and found["origin"][2] == "./clean/=1.png"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a table"),
        ("epoch,test_accuracy\n1,0.5\n", "no column method"),
        ("method,epoch,test_accuracy\nplain,1,0.5\nplain,2\n", "line 3 has 2 of 3 cells"),
        ("method,epoch,test_accuracy\nplain,1.5,0.5\n", "line 2 has '1.5' in column epoch"),
        ("method,epoch,test_accuracy\nplain,,0.5\n", "line 2 has '' in column epoch"),
    ],
)
def test_damaged_metrics_are_named(text, complaint, tmp_path):
    (tmp_path / "metrics.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint) as caught:
        tables.read_metrics(tmp_path)
    assert str(tmp_path / "metrics.csv") in str(caught.value)
