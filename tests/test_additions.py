"""A network, a weighting, a method and a reader of data are each added by one file and one line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The new files, and the lines that name them: where each stands, and what it comes after.
FILES = {
    "networks/toy_network.py": """
import keras


def build(input_shape, num_classes, weights, dropout):
    inputs = keras.Input(tuple(input_shape))
    return keras.Model(inputs, keras.layers.Dense(num_classes, **weights.kernel())(inputs))
""",
    "reweighting/weighting/toy_weighting.py": """
import tensorflow as tf

from l2rw_tf.reweighting.weighting.weighting import Weighting


class ToyWeighting(Weighting):
    def weigh(self, u, losses, sample_weight):
        return tf.ones_like(u) / tf.cast(tf.size(u), u.dtype)


WEIGHTING = ToyWeighting
""",
    "methods/toy_method.py": """
import dataclasses

import keras

from l2rw_tf.methods.l2rw import l2rw


def squared_error(y, logits):
    one_hot = keras.ops.one_hot(keras.ops.reshape(y, [-1]), logits.shape[-1])
    return keras.ops.mean(keras.ops.square(one_hot - logits), -1)


toy_method = dataclasses.replace(l2rw, loss=lambda data: squared_error)
""",
    "data/toy_reader.py": """
import numpy as np

from l2rw_tf.data.examples import Source, examples_from


def can_read(dataset):
    return dataset == "toy_data"


def read(dataset, **options):
    y = np.arange(100) % 2
    x = np.stack([2 * y - 1, np.sin(np.arange(100))], 1).astype(np.float32)
    return Source("toy data", examples_from(x, y), None, ("low", "high"), "table", ("a", "b"))
""",
}
LINES = {
    "networks/__init__.py": (
        "FAMILIES = {",
        '"toy_network": Family("toynet", "toynet", takes_tables=True),',
    ),
    "reweighting/weighting/__init__.py": (
        "WEIGHTINGS = {",
        '"toy_weighting": "the same for all examples",',
    ),
    "methods/__init__.py": (
        "METHODS = {",
        '"toy_method": Entry("toy", "with squared errors", "toy_method"),',
    ),
    "data/sources.py": ("READERS = (", '"toy_reader",'),
}


@pytest.fixture
def package_with_toys(tmp_path):
    package = tmp_path / "l2rw_tf"
    shutil.copytree(ROOT / "l2rw_tf", package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, content in FILES.items():
        assert not (package / file).exists()
        (package / file).write_text(content, encoding="utf-8")
    for file, (after, line) in LINES.items():
        before = (package / file).read_text(encoding="utf-8")
        assert before.count(after) == 1, f"{file} has no {after!r}, or several"
        content = before.replace(after, f"{after}\n    {line}\n    ")
        (package / file).write_text(content, encoding="utf-8")
    return package


@pytest.mark.process
def test_one_file_and_one_line_each(package_with_toys, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    flags = [
        "--dataset=toy_data",
        "--network=toynet",
        "--method=toy_method",
        "--weighting=toy_weighting",
        "--labels_are_right",
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "l2rw_tf", "train", *flags),
            *("--clean_per_class=5", "--batch_size=16", "--epochs=4", "--learning_rate=0.1"),
            *("--progress=none", "--run_dir=run"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["dataset"] == "toy data" and results["class_names"] == ["low", "high"]
    assert (results["network"], results["method"]) == ("toynet", "toy_method")
    assert results["parameters"] == 2 * 2 + 2
    assert results["test_accuracy"] > 0.9
    with (tmp_path / "run" / "examples.csv").open(encoding="utf-8", newline="") as file:
        weights = [float(row["last_weight"]) for row in csv.DictReader(file)]
    # Of each batch one over its size, which is smaller for the last batch of an epoch.
    assert {round(1 / weight) for weight in weights} == {16, len(weights) % 16}
