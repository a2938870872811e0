"""model.keras takes what is in the data set and says what results.json says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from l2rw_tf import main
from l2rw_tf.data import prepared_data
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.runs import config, results
from tests.data.test_tfds_images import MadeImages
from tests.made_up import folder_of_images, table_file

FLAGS = (
    "--epochs=2",
    "--noise_type=uniform",
    "--noise_ratio=0.2",
    "--clean_per_class=2",
    "--labels_are_right",
    "--batch_size=50",
    # Deterministic operations are switched on for the whole process, which other tests share.
    "--deterministic=false",
    "--notensorboard",
    "--progress=none",
)

# Runs where this package cannot be imported.
_CLASSIFY = """
import json, sys
sys.modules["l2rw_tf"] = None
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
names = json.load(open(sys.argv[1] + "/classes.json", encoding="utf-8"))
raw = np.load(sys.argv[2])
assert model.input.dtype == raw["x"].dtype, (model.input.dtype, raw["x"].dtype)
probabilities = model.predict(raw["x"], verbose=0)
np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
predicted = [names[label] for label in probabilities.argmax(axis=1)]
print(sum(one == other for one, other in zip(predicted, raw["names"], strict=True)))
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["digits", "table", "folder", "npz", "tfds"])
def test_raw_inputs_are_classified_as_the_results_say(kind, tmp_path, monkeypatch):
    flags = ["--dataset=digits", "--network=mlp"]
    if kind == "table":
        file = table_file(tmp_path / "table.csv")
        lines = file.read_text("utf-8").splitlines()
        # Some numbers are missing; rows go in with NaN there.
        lines[1::7] = [",".join(["", *line.split(",")[1:]]) for line in lines[1::7]]
        file.write_text("\n".join(lines), encoding="utf-8")
        flags = [f"--dataset={file}"]
    if kind == "folder":
        flags = [f"--dataset={folder_of_images(tmp_path / 'images')}", "--network=resnet8"]
    if kind == "npz":
        y = np.arange(150) % 3
        x = np.random.default_rng(0).integers(0, 150, (150, 9, 7), np.uint8) + 50 * y[:, None, None]
        np.savez(tmp_path / "images.npz", x=x.astype(np.uint8), y=y)
        flags = [f"--dataset={tmp_path / 'images.npz'}", "--network=lenet"]
    if kind == "tfds":
        monkeypatch.setattr(MadeImages, "labels", {"train": [0, 1, 2] * 30, "test": [2, 0, 1] * 9})
        flags = ["--dataset=made_images", f"--data_dir={tmp_path}", "--network=mlp"]
    run_dir = tmp_path / "run"
    assert main.main([*flags, *FLAGS, f"--run_dir={run_dir}"]) == 0

    settings = config.from_arguments([f"--flagfile={run_dir / 'config.cfg'}"])
    source = prepared_data.prepare(settings.part(DataSettings), settings.seed)
    test = source.splits.test
    names = np.array(source.source.class_names)[test.y]
    np.savez(tmp_path / "raw.npz", x=np.asarray(test.x), names=names)
    done = subprocess.run(
        [sys.executable, "-c", _CLASSIFY, str(run_dir), str(tmp_path / "raw.npz")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = results.read(run_dir)
    assert abs(int(done.stdout) - found.test_accuracy * len(test)) < 1.5
    assert json.loads((run_dir / "classes.json").read_text("utf-8")) == found.class_names
