"""Compares the audit after one reweighted training with cleanlab in finding wrong labels.

    python -m benchmarks.label_errors [--dataset=digits] [--noise KIND ...] [--ratios R ...]
        [--seeds S ...] [--methods M ...] [--directory=DIR] [--flag=value ...]

All methods score the same noisy training labels with the same network, optimizer and number of
epochs. The audit uses `label_quality` of the run's table, after one training, with the paper's
weights; `audit_with_plain` that of a whole run with --with_plain, in which the plain network ranks
if it is better on the test data and has not memorized the labels (this takes held-out labels:
--validation_fraction=0.05). cleanlab uses `get_label_quality_scores` of out-of-fold probabilities,
by self-confidence (its default) or normalized margin, after a plain training per fold: as in its
documentation, each label is scored by a network that was not trained on it. The clean examples are
added to the training examples of every fold, so that all methods have the same information.

CIFAR-10N has human labels, so no noise is simulated: --dataset=cifar10_n --noise none, and
--label_column=aggre_label or another column of labels.

Every row of the comparison is a file in its directory; started again, the program computes only
missing rows. table.md has all finished rows. Other flags are those of a run.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import dataclasses
import gc
import importlib.metadata
import importlib.util
import itertools
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging
from sklearn import model_selection

from l2rw_tf import quality as audit
from l2rw_tf.data import predictions, prepared_data
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import UsageError
from l2rw_tf.runs import config, example_table, run, tables, training
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.run_directory import RunDirectory

FLAGS = {
    "digits": (
        "--dataset=digits",
        "--clean_per_class=5",
        "--network=resnet8",
        "--epochs=30",
        "--learning_rate=0.05",
        "--lr_decay_epochs=20,25",
    ),
    "fashion_mnist": (
        "--dataset=fashion_mnist",
        "--clean_per_class=10",
        "--network=lenet",
        "--optimizer=adam",
        "--epochs=7",
        "--learning_rate=0.001",
        "--lr_decay_epochs=3.5,5.25",
    ),
    # Same as configs/small_worst_short.cfg.
    "cifar10_n": (
        "--dataset=cifar10_n",
        "--true_label_column=label",
        "--num_examples=10000",
        "--image_size=16",
        "--num_clean=500",
        "--network=resnet20",
        "--augment=crop_flip",
        "--epochs=20",
        "--learning_rate=0.05",
        "--lr_decay_epochs=12,17",
    ),
}
NOISE = ("background", "pair", "uniform")
MEASURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision_at_true_number": "precision at the true number",
}
COSTS = {"train_seconds": "training (s)", "processor_seconds": "processor (s)"}
METHODS = {
    "audit": "audit, paper's weights",
    "audit_with_plain": "audit, the better network ranks (--with_plain)",
    "cleanlab": "cleanlab, self-confidence",
    "cleanlab_margin": "cleanlab, normalized margin",
}
_SCORES = {"cleanlab": "self_confidence", "cleanlab_margin": "normalized_margin"}


Row = dict[str, Any]


def audit_scores(settings: RunConfig, data: PreparedData) -> tuple[np.ndarray, float]:
    """Returns the audit's label quality, (n,), and its training time in seconds."""
    trained = training.train(settings.method, settings, data)
    train = data.splits.train
    probabilities = predictions.class_probabilities(trained.network, train, data.preprocessing)
    table = example_table.example_table(data, trained, probabilities)
    return audit.label_quality(table), trained.train_seconds


def better_scores(settings: RunConfig, data: PreparedData) -> tuple[np.ndarray, float]:
    """Returns the label quality of a whole run with --with_plain, (n,), and its training time.

    The run compares its networks on the test data, with true labels that the other methods lack.
    """
    if data.splits.validation is None or not len(data.splits.validation):
        raise UsageError(
            "audit_with_plain needs held-out labels, to tell whether plain training has memorized "
            "them: add --validation_fraction=0.05."
        )
    with tempfile.TemporaryDirectory() as folder:
        asked = {"with_plain": True, "evaluate_every": settings.epochs, "deterministic": "false"}
        found = run.run(dataclasses.replace(settings, **asked, run_dir=folder))
        table = tables.read_examples(Path(folder), len(found.class_names))
    scored = audit.with_quality(table, found.is_ranked_by_plain)
    row_of = {one: row for row, one in enumerate(scored["id"].tolist())}
    rows = [row_of[one] for one in data.splits.train.ids.tolist()]
    seconds = sum(one.train_seconds for one in found.trainings.values())
    return scored["label_quality"][rows], seconds


def cleanlab_scores(
    settings: RunConfig, data: PreparedData, folds: int, score: str, kept: Path
) -> tuple[np.ndarray, float]:
    """Returns cleanlab's label quality, (n,), and its training time in seconds.

    The probabilities are kept in a file, so that another score needs no further training.
    """
    from cleanlab.rank import get_label_quality_scores

    if not kept.exists():
        probabilities, seconds = out_of_fold_probabilities(settings, data, folds)
        np.savez(kept, probabilities=probabilities, seconds=seconds)
    with np.load(kept) as found:
        probabilities, seconds = found["probabilities"], float(found["seconds"])
    labels = data.splits.train.y
    return get_label_quality_scores(labels, probabilities, method=score), seconds


def out_of_fold_probabilities(
    settings: RunConfig, data: PreparedData, num_folds: int
) -> tuple[np.ndarray, float]:
    """Trains plainly once per fold, on the other folds and the clean examples.

    Returns:
        The class probabilities of each training example by the network that was not trained on it,
        (n, classes), and the training time in seconds.
    """
    given = data.splits.train
    probabilities = np.zeros((len(given), data.source.num_classes))
    seconds = 0.0
    folds = model_selection.StratifiedKFold(num_folds, shuffle=True, random_state=settings.seed)
    for rest, held_out in folds.split(given.y, given.y):
        examples = given.take(rest).followed_by(data.splits.clean)
        splits = dataclasses.replace(data.splits, train=examples)
        trained = training.train("plain", settings, dataclasses.replace(data, splits=splits))
        probabilities[held_out] = predictions.class_probabilities(
            trained.network, given.take(held_out), data.preprocessing
        )
        seconds += trained.train_seconds
    return probabilities, seconds


def measure(method: str, settings: RunConfig, folds: int, kept: Path) -> Row:
    """Trains, scores the labels, and compares the scores with the true labels."""
    data = prepared_data.prepare(settings, settings.seed)
    # Only `better_scores` uses the test data; one example saves the evaluation after each epoch.
    splits = dataclasses.replace(data.splits, test=data.splits.test.take(np.arange(1)))
    data = dataclasses.replace(data, splits=splits)
    begin = time.process_time()
    if method in _SCORES:
        quality, seconds = cleanlab_scores(settings, data, folds, _SCORES[method], kept)
    elif method == "audit_with_plain":
        quality, seconds = better_scores(settings, data)
    else:
        quality, seconds = audit_scores(settings, data)
    processor_seconds = time.process_time() - begin
    examples = data.splits.train
    found = audit.detection(
        {"label_quality": quality, "given_label": examples.y, "true_label": examples.true_y}
    )
    return {
        **dataclasses.asdict(found),
        "examples": len(examples),
        "clean_examples": len(data.splits.clean),
        "wrong_labels": int((examples.y != examples.true_y).sum()),
        "train_seconds": seconds,
        "processor_seconds": processor_seconds,
    }


def compare(
    directory: RunDirectory,
    flags: Sequence[str],
    condition: Row,
    methods: Sequence[str],
    folds: int,
) -> dict[str, Row]:
    """Returns a row for each method; missing rows are computed.

    Args:
        directory: The directory of the rows.
        flags: The flags of the runs; rows with other flags are computed again.
        condition: `noise_type`, `noise_ratio` and `seed`.
        methods: The methods to compute; existing rows of other methods are returned too.
        folds: The number of folds for cleanlab.
    """
    condition_flags = [f"--{name}={value}" for name, value in condition.items()]
    found = {}
    for method in METHODS:
        method_flags = [*flags, *condition_flags]
        made_by = [*method_flags, *([f"folds={folds}"] if method in _SCORES else [])]
        where = "-".join(map(str, condition.values()))
        name = f"{where}-{method}.json"
        row = _read(directory.path / name)
        # The probabilities depend on the flags.
        kept = directory.path / f"{where}-{zlib.crc32(repr(made_by).encode())}.npz"
        if row.get("flags") != made_by:
            if method not in methods:
                continue
            figures = measure(method, config.from_arguments(method_flags), folds, kept)
            row = {**condition, "method": method, **figures, "flags": made_by}
            directory.write_json(name, row)
            keras.backend.clear_session()
            gc.collect()
        found[method] = row
    return found


def _read(path: Path) -> Row:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(compared: Sequence[dict[str, Row]]) -> str:
    """Returns the means over the seeds as a Markdown table, the best figures in bold."""
    titles = ["noise", "wrong labels", "seeds", "by", *MEASURES.values(), *COSTS.values()]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    alike: dict[tuple[str, float], list[dict[str, Row]]] = {}
    for rows in compared:
        row = next(iter(rows.values()))
        alike.setdefault((row["noise_type"], row["noise_ratio"]), []).append(rows)
    for (kind, ratio), of_seeds in sorted(alike.items()):
        rows_of = {
            method: [rows[method] for rows in of_seeds if method in rows]
            for method in METHODS
            if any(method in rows for rows in of_seeds)
        }
        seeds_of = {method: [row["seed"] for row in rows] for method, rows in rows_of.items()}
        mean = {
            (method, name): np.mean([row[name] for row in rows])
            for (method, rows), name in itertools.product(rows_of.items(), [*MEASURES, *COSTS])
        }
        for method, seeds in seeds_of.items():
            cells = [kind, f"{ratio:.0%}", ", ".join(map(str, seeds)), METHODS[method]]
            for name in MEASURES:
                figure = f"{mean[method, name]:.4f}"
                # The best among the methods with the same seeds.
                others = [other for other in seeds_of if seeds_of[other] == seeds]
                best = max(f"{mean[other, name]:.4f}" for other in others)
                cells.append(f"**{figure}**" if figure == best else figure)
            cells += [f"{mean[method, name]:.1f}" for name in COSTS]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Computes missing rows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--dataset", choices=tuple(FLAGS), default="digits")
    parser.add_argument("--noise", nargs="+", choices=(*NOISE, "none"), default=NOISE)
    parser.add_argument("--folds", type=int, default=3, help="cleanlab's trainings")
    parser.add_argument("--ratios", nargs="+", type=float, default=(0.1, 0.2, 0.4))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument(
        "--methods", nargs="+", choices=tuple(METHODS), default=("audit", "cleanlab")
    )
    parser.add_argument("--directory", default="")
    options, others = parser.parse_known_args(arguments)
    needs_cleanlab = not _SCORES.keys().isdisjoint(options.methods)
    if needs_cleanlab and importlib.util.find_spec("cleanlab") is None:
        print("cleanlab is missing: pip install -r requirements-bench.txt", file=sys.stderr)
        return 2
    path = Path(options.directory or f"runs/label_errors-{options.dataset}")
    path.mkdir(parents=True, exist_ok=True)
    directory = RunDirectory(path)
    # The seeds are outermost, so that the first seed already fills the whole table.
    conditions = [
        {"noise_type": kind, "noise_ratio": ratio, "seed": seed}
        for seed, ratio, kind in itertools.product(options.seeds, options.ratios, options.noise)
    ]
    # Every training example is scored, so none is held out.
    flags = [*FLAGS[options.dataset], "--validation_fraction=0", "--steps_per_execution=20"]
    # Each training is traced once; TensorFlow warns as if one function were traced repeatedly.
    logging.set_verbosity(logging.ERROR)
    compared = []
    try:
        for condition in conditions:
            row = compare(directory, [*flags, *others], condition, options.methods, options.folds)
            compared.append(row)
            directory.write_text("table.md", table(compared))
            print(*table(compared[-1:]).splitlines()[2:], sep="\n", flush=True)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{table(compared)}")
    packages = ["scikit-learn", "tensorflow", "keras", "numpy"]
    if needs_cleanlab:
        packages.insert(0, "cleanlab")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
