"""Runs with a network of the user's own, and their resumption."""

from __future__ import annotations

import json
import os
import signal
import sys

import keras
import numpy as np
import pytest

from benchmarks import kill_test
from l2rw_tf import main, predict
from l2rw_tf.runs import results
from tests import moments
from tests.made_up import table_file

pytestmark = pytest.mark.slow

FLAGS = [
    "--noise_type=uniform",
    "--noise_ratio=0.2",
    "--clean_per_class=5",
    "--epochs=2",
    "--batch_size=500",
    "--checkpoint_minutes=0.00001",
    # Deterministic operations are switched on for the whole process, which other tests share.
    "--deterministic=false",
    "--notensorboard",
    "--progress=none",
]
MODULE = """
import keras


def network(input_shape, num_classes):
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(num_classes, activation="softmax"),
        ]
    )


class Unsaveable(keras.layers.Dense):
    def get_config(self):
        raise NotImplementedError("no get_config")


def unsaveable(input_shape, num_classes):
    return keras.Sequential([keras.layers.Flatten(), Unsaveable(num_classes)])


class Model(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(keras.ops.reshape(x, (-1, 64)))

    def get_config(self):
        return {"units": self.dense.units}


def subclassed(input_shape, num_classes):
    return Model(num_classes)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_networks.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("my_networks", None)


def save_network(path):
    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(4, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
            keras.layers.Softmax(),
        ]
    ).save(path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["function", "file", "keras.applications"])
def test_each_form_trains_and_resumes(form, place, capsys):
    flags = {
        "function": ["--network=my_networks:network", "--with_plain"],
        "file": ["--network=mine.keras"],
        "keras.applications": [
            "--network=keras.applications:MobileNetV2",
            "--network_weights=none",
            "--freeze_backbone",
            "--image_size=32",
            "--method=l2rw",
            "--num_examples=300",
            "--batch_size=100",
        ],
    }[form]
    if form == "file":
        save_network("mine.keras")
    assert main.main([*FLAGS, *flags, "--run_dir=undisturbed"]) == 0
    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    with moments.happening(place / "stopped", "step", 2, stop):
        assert main.main([*FLAGS, *flags, "--run_dir=stopped"]) == 3
    assert not (place / "stopped" / "results.json").exists()
    assert main.main(["--resume", "--run_dir=stopped"]) == 0
    assert kill_test.outcome(place / "stopped") == kill_test.outcome(place / "undisturbed")
    capsys.readouterr()


def test_a_network_in_a_file_receives_what_it_is_made_for(place):
    """A run can start from the saved network of another, which takes raw inputs."""
    table = table_file(place / "table.csv")
    flags = [*FLAGS, f"--dataset={table}", "--batch_size=20"]
    assert main.main([*flags, "--epochs=10", "--run_dir=first"]) == 0
    first = results.read("first")
    again = [*flags, "--network=first/model.keras", "--learning_rate=1e-12", "--epochs=1"]
    assert main.main([*again, "--run_dir=second"]) == 0
    second = results.read("second")
    assert (second.test_accuracy, second.parameters) == (first.test_accuracy, first.parameters)
    assert second.test_loss == pytest.approx(first.test_loss, rel=1e-4)
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32) * [1, 1e6, 1e-6]
    found = [
        keras.saving.load_model(f"{name}/model.keras").predict(x, verbose=0)
        for name in ("first", "second")
    ]
    np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--network=my_networks:unsaveable"], ["cannot be saved by Keras", "get_config"]),
        (
            ["--network=my_networks:subclassed", "--meta_variables=head"],
            ["network 'my_networks:subclassed'", "subclassed model"],
        ),
        (["--network=my_networks:network", "--dropout=0.5"], ["leave it out, got dropout=0.5"]),
        (["--network=mlp", "--freeze_backbone"], ["freeze_backbone", "keras.applications:NAME"]),
        (
            ["--network=keras.applications:VGG16", "--network_weights=gone.h5"],
            ["imagenet, none or a file", "'gone.h5'"],
        ),
        (["--network=gone.keras"], ["gone.keras", "No such file"]),
        (["--network_inputs=grey"], ["auto, standardized, raw"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_found_before_training(flags, parts, place, capsys):
    assert main.main([*FLAGS, *flags, "--run_dir=run"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("l2rw: ") and complaint.count("\n") == 1
    for part in parts:
        assert part in complaint
    assert not (place / "run").exists()


def test_a_subclassed_network_trains_and_is_not_loaded_without_its_code(place, capsys):
    flags = ["--network=my_networks:subclassed", "--max_steps=2", "--run_dir=run"]
    assert main.main([*FLAGS, *flags]) == 0
    content = json.loads((place / "run" / "results.json").read_text(encoding="utf-8"))
    assert content["parameters"] == 650
    (place / "images").mkdir()
    flags = ["--run_dir=run", "images", "--output=classes.csv"]
    capsys.readouterr()
    assert predict.main(flags) == 2
    complaint = capsys.readouterr().err
    assert "without the code of its network, my_networks:subclassed" in complaint
    assert complaint.count("\n") == 1
