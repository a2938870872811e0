"""One run: from its settings to a filled run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2rw_tf import networks
from l2rw_tf.command_line import program
from l2rw_tf.errors import RunFailed, TrainingDiverged, UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.runs import config as config_module
from l2rw_tf.runs import distribution, results, words
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.distribution import Worker
from l2rw_tf.runs.results import RunResults
from l2rw_tf.runs.resume.checkpoints import Checkpoints
from l2rw_tf.runs.run_directory import RunDirectory, check_vacant, name_of_data

if TYPE_CHECKING:
    from l2rw_tf.runs.outcome import Report

_TITLES = {name: method.title for name, method in METHODS.items()}


def run(config: RunConfig, report: Report | None = None) -> RunResults:
    """Trains, evaluates and fills a run directory; shows progress on standard output.

    Args:
        config: The settings.
        report: Writes the report of the finished run, if there is to be one.

    Returns:
        What results.json holds.

    Raises:
        UsageError: If the settings or the data cannot be used.
        TrainingDiverged: If a loss becomes NaN or infinite.
        OSError: If a file of the run directory cannot be written.
    """
    with contextlib.ExitStack() as scope:
        # What needs no TensorFlow to be found wrong is found before it is loaded.
        worker = distribution.this_worker(config.distribution)
        directory = RunDirectory.of_run(config.run_dir) if config.resume else None
        if directory is not None:
            _check_flags(config, directory)
            if directory.is_finished:
                print(f"{directory.path} holds a finished run: nothing is left to do.")
                return results.read(directory.path)
            if worker.is_chief:
                scope.enter_context(directory.locked())
        elif worker.is_chief:
            check_vacant(config.run_dir)
        if config.network != "auto":
            networks.validate_name(config.network)
        scope.enter_context(_tensorflow_set_up(config, worker))
        return _run(config, directory, worker, report)


def _check_flags(config: RunConfig, directory: RunDirectory) -> None:
    """Refuses to go on with a run that was given other flags."""
    differences = config_module.differences(
        config, config_module.from_arguments(directory.read_flags())
    )
    if differences:
        raise UsageError(
            f"run_dir={directory.path} holds a run with other flags: {', '.join(differences)}. "
            "Leave them out to go on with it (--resume_learning_rate changes its learning rate), "
            "or name another directory."
        )


def _run(
    config: RunConfig, directory: RunDirectory | None, worker: Worker, report: Report | None
) -> RunResults:
    from l2rw_tf.data import prepared_data
    from l2rw_tf.runs import progress, training

    try:
        data = prepared_data.prepare(config)
    except UsageError as error:
        if directory is None:
            raise
        # It could be used when the run began.
        raise RunFailed(f"{error} The run in {directory.path} is as it was.") from error
    if data.unavailable:
        print(progress.fallback_banner(config.dataset, data.source.name, data.unavailable))
    # In advance, so that a mistake leaves no directory behind.
    training.check(config, data)
    if not worker.is_chief:
        return _train_beside_chief(config, data, directory)
    if directory is not None:
        return _train(config, data, directory, _checkpoints(config, directory), report)
    directory = RunDirectory.create(config.run_dir, f"{_name(config, data)}-seed{config.seed}")
    with directory.locked():
        directory.write_flags(config.flag_lines())
        return _train(config, data, directory, _checkpoints(config, directory), report)


def _train_beside_chief(config: RunConfig, data: Any, directory: RunDirectory | None) -> RunResults:
    """Does all that the chief does, step by step with it, and leaves nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="l2rw-") as temporary,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        own = RunDirectory(Path(temporary))
        checkpoints = _checkpoints(config, directory or own, writes=False)
        return _train(config, data, own, checkpoints, report=None)


def _checkpoints(config: RunConfig, directory: RunDirectory, writes: bool = True) -> Checkpoints:
    return Checkpoints(directory.path / "checkpoints", config.keep_checkpoints, writes)


def _train(
    config: RunConfig,
    data: Any,
    directory: RunDirectory,
    checkpoints: Checkpoints,
    report: Report | None,
) -> RunResults:
    """Begins or goes on with the trainings, and writes down what came of them."""
    from l2rw_tf.runs import outcome, progress
    from l2rw_tf.runs.resume import journal as journals

    directory.write_text("config.cfg", _config_text(config, data))
    heading = _heading(config, data)
    _introduce(config, data, heading)
    journal = journals.Journal(checkpoints, config, data)
    _tell(journal, directory)
    try:
        trainings = _trainings(journal, data, directory)
        found = outcome.write(config, data, directory, trainings, heading, report)
        closing = progress.closing_table(list(found.trainings.values()), _TITLES)
        print(f"\n{heading}\n\n{closing}\n\nresults: {directory.path}")
        return found
    except program.Stopped as stopped:
        stopped.outcome = _how_to_go_on(directory, checkpoints, "")
        raise
    except TrainingDiverged as error:
        smaller = f" --resume_learning_rate={journal.config.learning_rate / 3:.2g}"
        raise TrainingDiverged(
            f"{error} {_how_to_go_on(directory, checkpoints, smaller)}", error.step
        ) from error


def _tell(journal: Any, directory: RunDirectory) -> None:
    """Says where the run goes on, and what stood in the way."""
    for sentence in journal.damaged:
        print(f"l2rw: {sentence}; the one before it is looked for.", file=sys.stderr)
    if journal.saved:
        print(f"goes on from step {journal.saved.step} of the run", flush=True)
    elif journal.damaged:
        print("l2rw: there is no whole checkpoint: the run begins anew.", file=sys.stderr)


def _how_to_go_on(directory: RunDirectory, checkpoints: Checkpoints, flags: str) -> str:
    if not checkpoints.writes:
        return "The first worker says where the run is saved."
    flags = f"--resume --run_dir={directory.path}{flags}"
    if checkpoints.newest_path is None:
        return f"There is no checkpoint yet: {flags} begins anew."
    return f"The run is saved in {checkpoints.newest_path}: {flags} goes on from there."


def _trainings(journal: Any, data: Any, directory: RunDirectory) -> dict[str, Any]:
    """Does the trainings of the run that are not finished yet.

    Returns:
        All of them by method, the run's own last.
    """
    from l2rw_tf.runs import progress, tables, training

    config = journal.config
    rows = journal.rows
    write_rows = functools.partial(tables.write_metrics, directory, rows)
    if rows:
        write_rows()
    with_plain = config.with_plain and config.method != "plain"
    for method in [*(["plain"] if with_plain else []), config.method]:
        if method in journal.finished:
            continue
        display = progress.Progress(_TITLES[method], config.progress, sys.stdout)
        listeners = [rows.append, lambda row: write_rows(), display.show]
        with (
            _events(config, directory.path / "tensorboard" / method, listeners),
            program.stop_signal.held_back(),
        ):
            journal.finished[method] = training.train(
                method,
                config,
                data,
                listeners=listeners,
                callbacks=[display],
                save=functools.partial(journal.save, method),
                saved=journal.saved_of(method),
            )
    return journal.finished


@contextlib.contextmanager
def _tensorflow_set_up(config: RunConfig, worker: Worker) -> Iterator[None]:
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
        with distribution.scope(config.distribution, worker):
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

    @contextlib.contextmanager
    def named_errors() -> Iterator[None]:
        # TensorFlow's error of a full disk is that of a full memory, and names no file.
        try:
            yield
        except tf.errors.OpError as error:
            reason = re.split(r"\n| \[Op:", str(error))[0].split("; ")[-1]
            raise OSError(errno.EIO, reason, str(path)) from error

    def write(row: dict[str, Any]) -> None:
        with named_errors(), writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name not in ("method", "epoch", "phase", "step"):
                    tf.summary.scalar(name, value)
            writer.flush()

    with named_errors():
        writer = tf.summary.create_file_writer(str(path))
    listeners.append(write)
    try:
        yield
    finally:
        # What is written is on the disk already, row by row.
        with contextlib.suppress(tf.errors.OpError):
            writer.close()


def _name(config: RunConfig, data: Any) -> str:
    """NAME in runs/NAME-seedS."""
    if config.name:
        return config.name
    return "-".join([name_of_data(data.source.name), config.noise_type, config.method])


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
    name = data.source.name
    if config.classes:
        name += f" ({', '.join(data.source.class_names)})"
    uneven = words.classes_in_words(config)
    noise = words.noise_in_words(config, data.wrong_label_share)
    return ", ".join(part for part in (name, uneven, noise, f"seed {config.seed}") if part)


def _introduce(config: RunConfig, data: Any, heading: str) -> None:
    from l2rw_tf.runs import outcome

    sizes = ", ".join(f"{size:,} {name}" for name, size in outcome.sizes(data).items())
    print(f"{heading}\n{sizes} examples; {outcome.device()}", flush=True)
