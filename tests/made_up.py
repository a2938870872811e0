"""Results that no training gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from l2rw_tf.runs.results import ChosenEpoch, EpochResults, RunResults


def run_results(**changes: Any) -> RunResults:
    """Returns the results of a run; fields that are not given have values of their own."""
    fields = {
        "dataset": "digits",
        "requested_dataset": "digits",
        "method": "l2rw",
        "seed": 3,
        "test_accuracy": 0.6,
        "test_loss": 1.25,
        "validation_accuracy": 0.5,
        "last_epoch": EpochResults(epoch=3, test_accuracy=0.6),
        "chosen_by_validation": chosen_epoch(0.4),
        "train_seconds": 12.34,
        "step_seconds": 0.0123,
        "epochs": 3,
        "steps": 1200,
        "skipped_steps": 0,
        "network": "mlp",
        "parameters": 12345,
        "noise_type": "background",
        "noise_ratio": 0.4,
        "wrong_label_share": 0.25,
        "imbalance_type": "none",
        "imbalance_ratio": 1.0,
        "class_names": ["cat", "dog"],
        "training_class_counts": [25, 15],
        "examples": {"training": 40, "clean": 6, "validation": 5, "test": 30},
        "device": "CPU: 2 cores",
        "versions": {"keras": "3"},
        "heading": "digits, background flip of 0.4 of the labels, seed 3",
        "test_confusion": [[14, 2], [10, 4]],
    }
    return RunResults(**(fields | changes))


def chosen_epoch(test_accuracy: float) -> ChosenEpoch:
    """Returns an epoch that held-out labels chose."""
    return ChosenEpoch(
        epoch=2,
        validation_accuracy=0.55,
        test_accuracy=test_accuracy,
        validation_labels="corrupted",
    )


def table_file(path: Path, rows: int = 150) -> Path:
    """Writes a CSV file of three classes; its features differ in size by twelve powers of ten."""
    random = np.random.default_rng(0)
    y = np.arange(rows) % 3
    x = (random.normal(size=(rows, 3)) + 2 * np.eye(3)[y]) * [1, 1e6, 1e-6] + [7, 3e6, 0]
    names = ("red", "green", "blue")
    lines = [
        ",".join(map(str, [*row, names[label]])) for row, label in zip(x.tolist(), y, strict=True)
    ]
    path.write_text("\n".join(["a,b,c,label", *lines, ""]), encoding="utf-8")
    return path


def folder_of_images(folder: Path, names: tuple[str, str] = ("bright", "dark")) -> Path:
    """Writes colour images of two classes, 9 pixels wide and 7 high."""
    random = np.random.default_rng(0)
    for name, colour in zip(names, (130, 80), strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            pixels = random.normal(colour, 60, (7, 9, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder
