"""One run: from its settings to a complete run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import keras
import tensorflow as tf

from l2rw_tf.command_line import program, settings
from l2rw_tf.command_line.counting import counted, some_of
from l2rw_tf.data import corrections, duplicates, image_files, prepared_data, trusted
from l2rw_tf.data.examples import Source
from l2rw_tf.data.origins import cell
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.settings import TRUE, DataSettings
from l2rw_tf.errors import RunFailed, TrainingDiverged, UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.runs import config as config_module
from l2rw_tf.runs import distribution, events, lock, outcome, results, tables, training, words
from l2rw_tf.runs.config import ExecutionSettings, RunConfig, TrainingSettings
from l2rw_tf.runs.distribution import Worker
from l2rw_tf.runs.outcome import Report
from l2rw_tf.runs.phases import steps_of_epochs
from l2rw_tf.runs.progress import Progress
from l2rw_tf.runs.results import RunResults
from l2rw_tf.runs.resume.checkpoints import Checkpoints
from l2rw_tf.runs.resume.journal import Journal
from l2rw_tf.runs.run_directory import RunDirectory, check_vacant, name_of_data
from l2rw_tf.runs.training import Training

AnySettings = TypeVar("AnySettings", bound=DataSettings)

_TITLES = {name: entry.title for name, entry in METHODS.items()}


def run(config: RunConfig, report: Report | None = None) -> RunResults:
    """Trains, evaluates and writes a run directory; prints progress to standard output.

    Args:
        config: The settings.
        report: Writes the report of the finished run; None for no report.

    Returns:
        The content of results.json.

    Raises:
        UsageError: If the settings or the data cannot be used.
        TrainingDiverged: If a loss becomes NaN or infinite.
        OSError: If a file of the run directory cannot be written.
    """
    with contextlib.ExitStack() as scope:
        worker = distribution.this_worker(config.distribution)
        given = RunDirectory(config.run_dir)
        directory = given if config.resume and given.is_begun else None
        if directory is not None:
            _check_flags(config, directory)
            if directory.is_finished:
                print(f"{directory.path} holds a finished run: there is nothing left to do.")
                return results.read(directory.path)
            if worker.is_chief:
                scope.enter_context(lock.hold(directory.path))
        elif worker.is_chief:
            check_vacant(config.run_dir)
        scope.enter_context(_tensorflow_set_up(config.part(ExecutionSettings), worker))
        return _run(config, directory, worker, report)


def _check_flags(config: RunConfig, directory: RunDirectory) -> None:
    """Refuses to resume a run with flags other than its own."""
    found = settings.differences(config_module.from_arguments(directory.read_flags()), config)
    if found:
        raise UsageError(
            f"run_dir={directory.path} holds a run with other flags: {', '.join(found)}. Leave "
            "them out to resume it (--resume_learning_rate changes its learning rate), or name "
            "another directory."
        )


@contextlib.contextmanager
def _tensorflow_set_up(settings: ExecutionSettings, worker: Worker) -> Iterator[None]:
    """Applies the settings that are global in TensorFlow and Keras."""
    deterministic = settings.deterministic == "true"
    if settings.deterministic == "auto":
        deterministic = not tf.config.list_physical_devices("GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.dtype_policy)
    try:
        with distribution.scope(settings.distribution, worker):
            yield
    finally:
        keras.config.set_dtype_policy(policy)


def _run(
    config: RunConfig, directory: RunDirectory | None, worker: Worker, report: Report | None
) -> RunResults:
    try:
        asked = config.part(DataSettings)
        data = prepared_data.prepare(_with_copies(asked, directory), config.seed)
    except UsageError as error:
        if directory is None:
            raise
        # The data could be used when the run began: this is a failure, not a mistake in the flags.
        raise RunFailed(f"{error} The run in {directory.path} is unchanged.") from error
    if config.receives_raw_inputs:
        data = dataclasses.replace(data, preprocessing=data.preprocessing.left_out())
    if data.unavailable:
        print(words.fallback_banner(config.dataset, data.source.name, data.unavailable))
    # Before the directory is made, so that a mistake leaves none behind.
    training.check(config, data)
    _check_reviewed_run(config, data.source)
    if not worker.is_chief:
        return _train_beside_chief(config, data, directory)
    if directory is not None:
        _keep_copies(config, data, directory)
        return _train(config, data, directory, _checkpoints(config, directory), report)
    of_run = f"{name_of_data(data.source.name)}-{config.noise_type}-{config.method}"
    name = f"{config.name or of_run}-seed{config.seed}"
    directory = RunDirectory.create(config.run_dir, name)
    with lock.hold(directory.path):
        directory.write_flags(config.flag_lines())
        _keep_copies(config, data, directory)
        return _train(config, data, directory, _checkpoints(config, directory), report)


def _keep_copies(config: RunConfig, data: PreparedData, directory: RunDirectory) -> None:
    """Copies files that users edit into the run's directory, unless they are there already."""
    name = trusted.own_copy(config.clean_data)
    if name and not (directory.path / name).exists():
        content = Path(os.path.expanduser(config.clean_data)).read_bytes()
        directory.write_bytes(name, content)
    if data.corrected and not (directory.path / corrections.NAME).exists():
        directory.write_text(corrections.NAME, corrections.as_csv(data.corrections))
    if config.reviewed_run:
        content = (Path(config.reviewed_run) / results.NAME).read_bytes()
        directory.write_bytes(results.REVIEWED, content)


def _check_reviewed_run(config: RunConfig, source: Source) -> None:
    """Refuses a `reviewed_run` that is not a finished run on the same data."""
    if not config.reviewed_run:
        return
    try:
        there = results.read(config.reviewed_run)
    except UsageError as error:
        raise UsageError(f"reviewed_run: {error}") from error
    differing = sorted({*there.class_names} ^ {*source.class_names})
    if os.path.realpath(there.dataset) != os.path.realpath(source.name):
        reason = f"was trained on {there.dataset}, but this run uses {source.name}"
    elif differing:
        reason = f"has other classes than this run; only one of them has {some_of(differing)}"
    else:
        return
    raise UsageError(
        f"reviewed_run={config.reviewed_run} {reason}: name the run whose report produced the "
        "corrections, or leave the flag out."
    )


def _with_copies(asked: AnySettings, directory: RunDirectory | None) -> AnySettings:
    """Returns the settings with paths of the run's own copies of the files that users edit."""
    copies = {"corrections": (corrections.NAME,), "clean_data": trusted.COPIES}
    found = {
        flag: str((directory.path / name).resolve())
        for flag, names in copies.items()
        for name in names
        if directory and getattr(asked, flag) and (directory.path / name).exists()
    }
    return dataclasses.replace(asked, **found)


def _train_beside_chief(
    config: RunConfig, data: PreparedData, directory: RunDirectory | None
) -> RunResults:
    """Takes the same steps as the chief worker and writes nothing permanent."""
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
    data: PreparedData,
    directory: RunDirectory,
    checkpoints: Checkpoints,
    report: Report | None,
) -> RunResults:
    """Starts or resumes the trainings and writes their results."""
    journal = Journal(checkpoints, config, data)
    directory.write_text("config.cfg", _config_text(journal, data, directory))
    heading = words.heading(config, data, config.seed)
    sizes = ", ".join(f"{size:,} {name}" for name, size in outcome.sizes(data).items())
    print(f"{heading}\n{sizes} examples; {outcome.device()}", flush=True)
    if data.corrected:
        print(f"corrections: {corrections.in_words(data.corrected)}", flush=True)
    _report_data(data, directory)
    _print_resume_notes(journal)
    try:
        trainings = _trainings(journal, data, directory)
        found = outcome.write(journal, data, directory, trainings, heading, report)
        closing = words.closing_table(list(found.trainings.values()), _TITLES)
        suspected = found.suspected_labels or 0
        print(
            f"\n{heading}\n\n{closing}\n\nresults: {directory.path}; "
            f"{counted(suspected, 'suspected label')} to review in {directory.path}/report.html"
        )
        if better := words.against_plain(found, _TITLES):
            print(better)
        return found
    except program.Stopped as stopped:
        stopped.outcome = _how_to_resume(directory, checkpoints, "")
        raise
    except TrainingDiverged as error:
        smaller = f" --resume_learning_rate={journal.config.learning_rate / 3:.2g}"
        raise TrainingDiverged(
            f"{error} {_how_to_resume(directory, checkpoints, smaller)}", error.step
        ) from error


def _report_data(data: PreparedData, directory: RunDirectory) -> None:
    """Prints notes on the data; lists left-out files and duplicates in the run's directory."""
    lists = {
        image_files.LEFT_OUT: (("file", "reason"), data.source.left_out),
        duplicates.NAME: (duplicates.COLUMNS, data.duplicates.rows),
    }
    for name, (columns, rows) in lists.items():
        if rows:
            directory.write_table(name, columns, (map(cell, row) for row in rows))
    measured = [data.measured_on] if data.test_labels != TRUE else []
    for note in (*data.source.notes, *data.duplicates.notes, *measured):
        print(note, flush=True)


def _config_text(journal: Journal, data: PreparedData, directory: RunDirectory) -> str:
    """Returns the flagfile that repeats the run, with the data and corrections actually used."""
    lines = [
        "# Repeats this run in a new directory (--run_dir=DIR names one):",
        "#   python -m l2rw_tf.main --flagfile=THIS_FILE",
    ]
    lines += [
        f"# Except for the learning rate: it was changed to {one.learning_rate:g} after step "
        f"{one.after_step} of the {_TITLES[one.method]} training."
        for one in journal.new_rates
        if one.after_step
    ]
    dataset = journal.config.dataset
    if data.unavailable:
        lines.append(f"# The requested data set {dataset} was not available.")
        dataset = journal.config.fallback_dataset
    repeated = dataclasses.replace(journal.config, dataset=dataset, fallback_dataset="")
    repeated = _with_copies(repeated, directory)
    return "\n".join([*lines, "", *repeated.flag_lines(), ""])


def _print_resume_notes(journal: Journal) -> None:
    for sentence in journal.damaged:
        print(f"l2rw: {sentence}", file=sys.stderr)
    if journal.saved:
        print(f"resuming from step {journal.saved.step} of the run", flush=True)
    elif journal.damaged:
        print("l2rw: no checkpoint is intact: the run starts again.", file=sys.stderr)


def _how_to_resume(directory: RunDirectory, checkpoints: Checkpoints, flags: str) -> str:
    if not checkpoints.writes:
        return "The output of the first worker says where the run is saved."
    flags = f"--resume --run_dir={directory.path}{flags}"
    if checkpoints.newest_path is None:
        return f"There is no checkpoint yet: {flags} starts again."
    return f"The run is saved in {checkpoints.newest_path}: {flags} resumes it."


def _trainings(
    journal: Journal, data: PreparedData, directory: RunDirectory
) -> dict[str, Training]:
    """Runs the trainings that are not finished yet.

    Returns:
        All trainings of the run by method; the run's own method comes last.
    """
    config = journal.config
    rows = journal.rows
    write_rows = functools.partial(tables.write_metrics, directory, rows)
    if rows:
        write_rows()
    with_plain = config.with_plain and config.method != "plain"
    for method in [*(["plain"] if with_plain else []), config.method]:
        if method in journal.finished:
            continue
        steps = steps_of_epochs(method, config.part(TrainingSettings), len(data.splits.train))
        display = Progress(_TITLES[method], steps, config.progress, sys.stdout)
        listeners = [rows.append, lambda row: write_rows(), display.show]
        with contextlib.ExitStack() as scope:
            if config.tensorboard:
                path = directory.path / "tensorboard" / method
                listeners.append(scope.enter_context(events.writing(path)))
            scope.enter_context(program.stop_signal.held_back())
            journal.finish(
                training.train(
                    method,
                    config,
                    data,
                    listeners=listeners,
                    callbacks=[display],
                    save=functools.partial(journal.save, method),
                    saved=journal.saved_of(method),
                )
            )
    return journal.finished
