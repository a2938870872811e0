"""Classifies new inputs with the network of a finished run."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from l2rw_tf.command_line.counting import counted
from l2rw_tf.data import pipeline, unlabeled
from l2rw_tf.data.origins import cell
from l2rw_tf.errors import RunFailed, UsageError
from l2rw_tf.runs import results
from l2rw_tf.runs.run_directory import check_new_file, damaged
from l2rw_tf.runs.saved_network import CLASSES, MODEL, PLAIN

_COLUMNS = ("origin", "class", "probability")

# The origins of n inputs, and the inputs, (n, ...).
Batch = tuple[Sequence[str], np.ndarray]


def predict(
    run_dir: str,
    inputs: Sequence[str],
    output: str,
    bad_files: str = "stop",
    plain: bool = False,
) -> None:
    """Classifies inputs and writes a CSV file: origin, class, probability.

    Args:
        run_dir: The directory of a finished run.
        inputs: Folders and image files for a run on images, CSV files for a run on a table.
        output: The file to write, which must not exist.
        bad_files: What to do with files that are not images: `"stop"` lists them and writes
            nothing, `"skip"` leaves them out.
        plain: Whether to use the network of plain training instead of that of the run's method.

    Raises:
        UsageError: If the run, an input or the name of the output cannot be used.
        RunFailed: If the file cannot be written.
    """
    check_new_file("output", output)
    run = results.read(run_dir)
    plain = plain and run.method != "plain"
    if plain and not (Path(run_dir) / PLAIN).exists():
        raise UsageError(
            f"plain_network: {run_dir} has no {PLAIN}, which a run with --with_plain writes; leave "
            f"the flag out to use {MODEL}."
        )
    model, class_names = _model(Path(run_dir), PLAIN if plain else MODEL, run.network)
    if len(model.input_shape) == 4:
        batches = _batches_of_images(inputs, model.input_shape[1:], bad_files)
    else:
        batches = _batches_of_tables(inputs, run.feature_names)
    origins, labels, probabilities = [], [], []
    for names, x in batches:
        found = model.predict(x, verbose=0)
        origins += names
        labels += found.argmax(axis=1).tolist()
        probabilities += found.max(axis=1).astype(str).tolist()
    if not origins:
        raise UsageError(f"{', '.join(inputs)}: there is no image that can be read.")
    classes = [cell(class_names[label]) for label in labels]
    rows = zip(map(cell, origins), classes, probabilities, strict=True)
    _write(Path(output), rows)
    counts = np.bincount(labels, minlength=len(class_names))
    found = ", ".join(
        f"{number:,} {name}" for number, name in zip(counts, class_names, strict=True) if number
    )
    print(f"{counted(len(origins), 'input')}: {found}\npredictions: {output}")


def _model(directory: Path, name: str, network: str) -> tuple[keras.Model, list[str]]:
    """Returns the saved model, which takes raw inputs, and the class names of its outputs."""
    path = directory / CLASSES
    if not path.exists():
        raise UsageError(
            f"{directory} has no {CLASSES}: this run is from an earlier version of l2rw_tf, and "
            f"its {MODEL} does not take raw inputs; repeat the run."
        )
    try:
        class_names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, "it is not a list of names") from error
    path = directory / name
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if ":" in network:
            raise UsageError(
                f"{path} cannot be loaded without the code of its network, {network}, which this "
                "program does not run: import it in Python and load the file there, with "
                f"safe_mode=False if it has Lambda layers ({reason[:200]})."
            ) from error
        raise damaged(path, f"Keras cannot load it ({reason[:200]})") from error
    if model.output_shape[1:] != (len(class_names),):
        raise damaged(path, f"its outputs do not match the {len(class_names)} classes")
    return model, class_names


def _batches_of_images(
    inputs: Sequence[str], shape: tuple[int, int, int], bad_files: str
) -> Iterator[Batch]:
    for path in inputs:
        if path.lower().endswith((".csv", ".npz")):
            raise UsageError(
                f"{path} is not an image, but the run was trained on images: give a folder of "
                "images or image files."
            )
    yield from unlabeled.images_of(inputs, shape, bad_files, pipeline.evaluation_batch_size(shape))


def _batches_of_tables(inputs: Sequence[str], feature_names: Sequence[str]) -> Iterator[Batch]:
    for path in inputs:
        if not path.lower().endswith(".csv"):
            raise UsageError(
                f"{path} is not a CSV file, but the run was trained on a table: give CSV files "
                f"with its columns, {', '.join(feature_names[:10])}"
                f"{', ...' if len(feature_names) > 10 else ''}."
            )
    for path in inputs:
        x, lines, others = unlabeled.rows(path, feature_names)
        if others:
            print(f"{path}: ignored columns: {', '.join(others)}")
        yield [f"{path}:{line}" for line in lines], x


def _write(path: Path, rows: Iterator[Sequence[str]]) -> None:
    try:
        # A file name that is not UTF-8 must not make the whole output fail.
        with path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
    except OSError as error:
        raise RunFailed(f"output={path} cannot be written: {error.strerror}.") from error
