"""One run: from its settings to a filled run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from l2rw_tf import __version__, networks
from l2rw_tf.experiment.config import RunConfig
from l2rw_tf.experiment.methods import METHODS
from l2rw_tf.experiment.run_directory import RunDirectory, check_vacant

_VERSIONED = ("tensorflow", "keras", "tensorflow-datasets", "numpy")
_TITLES = {name: method.title for name, method in METHODS.items()}


def run(config: RunConfig) -> dict[str, Any]:
    """Trains, evaluates and fills a run directory; shows progress on standard output.

    Args:
        config: The settings.

    Returns:
        What results.json holds.

    Raises:
        UsageError: If the settings or the data cannot be used.
        TrainingDiverged: If a loss becomes NaN or infinite.
        OSError: If a file of the run directory cannot be written.
    """
    # What needs no TensorFlow to be found wrong is found before it is loaded.
    check_vacant(config.run_dir)
    if config.network != "auto":
        networks.validate_name(config.network)
    with _tensorflow_set_up(config):
        return _run(config)


def _run(config: RunConfig) -> dict[str, Any]:
    from l2rw_tf.experiment import (
        epoch_record,
        example_table,
        figures,
        prepared_data,
        progress,
        run_report,
        training,
    )

    data = prepared_data.prepare(config)
    if data.unavailable:
        print(progress.fallback_banner(config.dataset, data.source.name, data.unavailable))
    # In advance, so that a mistake leaves no directory behind.
    training.check(config, data)
    directory = RunDirectory.create(config.run_dir, f"{_name(config, data)}-seed{config.seed}")
    directory.write_text("config.cfg", _config_text(config, data))
    heading = _heading(config, data)
    _introduce(config, data, heading)

    methods = ["plain"] if config.with_plain and config.method != "plain" else []
    rows: list[dict[str, Any]] = []
    trainings = {}
    for method in [*methods, config.method]:
        display = progress.Progress(_TITLES[method], config.progress, sys.stdout)
        listeners = [
            rows.append,
            lambda row: directory.write_table("metrics.csv", epoch_record.COLUMNS, rows),
            display.show,
        ]
        with _events(config, directory.path / "tensorboard" / method, listeners):
            trainings[method] = training.train(
                method, config, data, listeners=listeners, callbacks=[display]
            )

    directory.save_network("model.keras", trainings[config.method].network)
    table = example_table.example_table(data, trainings[config.method])
    directory.write_columns("examples.csv", table)
    curves = {method: trained.epochs for method, trained in reversed(trainings.items())}
    directory.save_figure("accuracy.png", figures.accuracy_curves(curves, _TITLES, heading))
    found = {method: _results(config, data, trained) for method, trained in trainings.items()}
    results = dict(found[config.method])
    if config.with_plain:
        results["plain"] = found["plain"]
    run_report.write(
        directory,
        config,
        data,
        heading,
        {method: (trained, found[method]) for method, trained in trainings.items()},
        table | {"label_quality": table["given_probability"]},
        table["given_label"] != table["suggested_label"],
    )
    # Last, so that a directory with results.json is a finished run.
    directory.write_json("results.json", results)
    closing = progress.closing_table(list(found.values()), _TITLES)
    print(f"\n{heading}\n\n{closing}\n\nresults: {directory.path}")
    return results


@contextlib.contextmanager
def _tensorflow_set_up(config: RunConfig) -> Iterator[None]:
    """Applies the settings that are global in TensorFlow and Keras."""
    import keras
    import tensorflow as tf

    deterministic = config.deterministic == "true"
    if config.deterministic == "auto":
        deterministic = not tf.config.list_physical_devices("GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def _events(config: RunConfig, path: Path, listeners: list[Any]) -> Iterator[None]:
    """Adds a listener that writes TensorBoard events, where they are wanted."""
    if not config.tensorboard:
        yield
        return
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(path))

    def write(row: dict[str, Any]) -> None:
        with writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name not in ("method", "epoch", "phase", "step"):
                    tf.summary.scalar(name, value)
        writer.flush()

    listeners.append(write)
    try:
        yield
    finally:
        writer.close()


def _name(config: RunConfig, data: Any) -> str:
    """NAME in runs/NAME-seedS."""
    if config.name:
        return config.name
    dataset = re.sub(r"[^\w.-]+", "_", Path(data.source.name).stem) or "data"
    return "-".join([dataset, config.noise_type, config.method])


def _config_text(config: RunConfig, data: Any) -> str:
    """The flagfile that repeats the run, with the data set that was really used."""
    lines = [
        "# Repeats this run, into a new directory (--run_dir=DIR names one):",
        "#   python -m l2rw_tf.main --flagfile=THIS_FILE",
    ]
    dataset = config.dataset
    if data.unavailable:
        dataset = config.fallback_dataset
        lines.append(f"# {config.dataset} was asked for and was not to be had.")
    repeated = dataclasses.replace(config, dataset=dataset, fallback_dataset="")
    return "\n".join([*lines, "", *repeated.flag_lines(), ""])


def _heading(config: RunConfig, data: Any) -> str:
    from l2rw_tf.experiment import progress

    name = data.source.name
    if config.classes:
        name += f" ({', '.join(data.source.class_names)})"
    uneven = progress.classes_in_words(config)
    noise = progress.noise_in_words(config, data.wrong_label_share)
    return ", ".join(part for part in (name, uneven, noise, f"seed {config.seed}") if part)


def _introduce(config: RunConfig, data: Any, heading: str) -> None:
    sizes = ", ".join(f"{size:,} {name}" for name, size in _sizes(data).items())
    print(f"{heading}\n{sizes} examples; {_device()}", flush=True)


def _sizes(data: Any) -> dict[str, int]:
    return {
        "training": len(data.splits.train),
        "clean": len(data.splits.clean),
        "validation": len(data.splits.validation),
        "test": len(data.splits.test),
    }


def _device() -> str:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"GPU: {details.get('device_name', gpus[0].name)}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU: {cores} cores"


def _results(config: RunConfig, data: Any, trained: Any) -> dict[str, Any]:
    """What results.json holds of one training."""
    final, last = trained.final, trained.epochs[-1]
    return {
        "dataset": data.source.name,
        "requested_dataset": config.dataset,
        "method": trained.method,
        "seed": config.seed,
        "test_accuracy": final["test_accuracy"],
        "test_loss": final["test_loss"],
        "validation_accuracy": final.get("val_accuracy"),
        "last_epoch": {"epoch": last["epoch"], "test_accuracy": last["test_accuracy"]},
        "chosen_by_validation": _chosen(config, trained.epochs),
        "train_seconds": trained.train_seconds,
        "step_seconds": trained.step_seconds,
        "epochs": len(trained.epochs),
        "steps": trained.steps,
        "network": config.network,
        "parameters": trained.network.count_params(),
        "noise_type": config.noise_type,
        "noise_ratio": config.noise_ratio,
        "wrong_label_share": data.wrong_label_share,
        "imbalance_type": config.imbalance_type,
        "imbalance_ratio": config.imbalance_ratio,
        "class_names": list(data.source.class_names),
        "training_class_counts": data.training_class_counts,
        "examples": _sizes(data),
        "device": _device(),
        "versions": {
            "l2rw_tf": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        },
    }


def _chosen(config: RunConfig, epochs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The epoch that the held-out labels would have chosen, the first of equally good ones."""
    if "val_accuracy" not in epochs[-1]:
        return None
    best = max(epochs, key=lambda row: row["val_accuracy"])
    return {
        "epoch": best["epoch"],
        "validation_accuracy": best["val_accuracy"],
        "test_accuracy": best["test_accuracy"],
        "validation_labels": "corrupted" if config.noise_type != "none" else "as given",
    }
