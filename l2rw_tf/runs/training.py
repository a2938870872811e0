"""One training of one network with one method, over all of its phases."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf import methods, networks
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.networks.settings import AUTO
from l2rw_tf.reweighting.feeding.shards import distribute
from l2rw_tf.reweighting.variables import NoSuchPart, select_meta_variables
from l2rw_tf.runs import saved_network
from l2rw_tf.runs.batches import Batches, augmentation
from l2rw_tf.runs.best_epoch import BestEpoch
from l2rw_tf.runs.config import NONE, ExecutionSettings, RunConfig, TrainingSettings
from l2rw_tf.runs.epoch_record import EpochRecord, Row
from l2rw_tf.runs.nonfinite import SkipNonfinite
from l2rw_tf.runs.phases import (
    FINETUNE,
    MAIN,
    Phase,
    make_optimizer,
    phases_of,
    steps_per_execution,
)
from l2rw_tf.runs.resume.checkpoints import Checkpoint
from l2rw_tf.runs.resume.training_state import Resume, SaveRegularly, all_finite, arrays_of


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        method: The name of the method in `METHODS`.
        network: The trained network, without the method's wrapper.
        epochs: A row of metrics.csv for each epoch.
        final: The row that describes `network`: the last, or the best epoch's with early stopping.
        steps: Number of steps.
        train_seconds: Time spent on training steps, with compilation but without evaluation.
        step_seconds: Median time per step of the main phase.
        skipped_steps: Number of steps undone because of NaN or infinity.
        example_record: The columns of `ReweightingModel.example_record` after the main phase, one
            row per training example, in order; None for methods that keep no record.
    """

    method: str
    network: keras.Model
    epochs: list[Row]
    final: Row
    steps: int
    train_seconds: float
    step_seconds: float
    skipped_steps: int
    example_record: dict[str, np.ndarray] | None


def check(config: RunConfig, data: PreparedData) -> None:
    """Checks settings and data for everything that `train` refuses, before anything is written.

    Raises:
        UsageError: If the settings do not fit the data.
    """
    network = build_network(config, data)
    if config.network != AUTO and networks.family_of(config.network).is_users:
        saved_network.check(network, config.network, data.preprocessing, data.source)
    if methods.get(config.method).uses_clean_data:
        _check_meta_variables(network, config)
    batches_of(config, data)
    phases_of(config.method, config.part(TrainingSettings), len(data.splits.train))
    method = methods.get(config.method)
    _check_clean(config, data)
    if method.sample_weights is not None:
        method.sample_weights(config.seed, data)
    by_clean = config.early_stopping and config.early_stopping_on == "clean"
    if by_clean and not _can_choose_by_clean(config.method, config, data):
        raise UsageError(
            f"early_stopping_on=clean needs clean examples whose labels are known to be right and "
            f"that are not trained on; method={config.method} has none here: use held_out."
        )
    if config.early_stopping and not by_clean and not len(data.splits.validation):
        raise UsageError(
            f"early_stopping needs held-out examples, but validation_fraction="
            f"{config.validation_fraction:g} of this data is less than one example."
        )


def _can_choose_by_clean(method: str, config: RunConfig, data: PreparedData) -> bool:
    """Whether clean examples can choose an epoch: present, known to be right, not trained on."""
    trained_on = methods.get(method).part != "train" or config.clean_in_train
    return not trained_on and data.clean_is_right and len(data.splits.clean) > 0


def _check_clean(config: RunConfig, data: PreparedData) -> None:
    """Refuses clean examples that are missing or whose labels may be wrong, if they are needed."""
    method = methods.get(config.method)
    needs = f"method={config.method}"
    if not method.uses_clean_data and method.part == "train":
        if not config.finetune_steps:
            return
        needs = f"finetune_steps={config.finetune_steps}"
    if not data.clean_is_right:
        raise UsageError(
            f"{needs} needs examples whose labels are known to be right, but the labels of "
            f"{data.source.name} may be wrong: name trusted examples with --clean_data (a folder, "
            "file, list or split), put them into clean/ beside train/, name a column of true "
            "labels with --true_label_column, or set --labels_are_right."
        )
    if not len(data.splits.clean):
        raise UsageError(f"{needs} needs clean examples, but there are none of these classes.")
    if data.source.trusted is not None:
        labels = np.concatenate([data.source.trusted.y, data.splits.clean.y])
        missing = np.setdiff1d(data.splits.train.y, labels)
        if len(missing):
            names = ", ".join(data.source.class_names[label] for label in missing[:20])
            raise UsageError(
                f"{needs} needs trusted examples of all classes, but there are none of "
                f"{names}{', ...' if len(missing) > 20 else ''}; add some, or leave these classes "
                "out (--classes)."
            )


def _check_meta_variables(network: keras.Model, config: RunConfig) -> None:
    """Checks that the variables that --meta_variables names can be selected."""
    try:
        select_meta_variables(network, config.meta_variables)
    except NoSuchPart as error:
        # A flag takes no function, which the error itself recommends.
        reason = f"{error.reason}; use --meta_variables=all."
        raise UsageError(f"network {config.network!r}: {reason}") from error
    except UsageError as error:
        raise UsageError(f"network {config.network!r}: {error}") from error


def build_network(config: RunConfig, data: PreparedData) -> keras.Model:
    """Builds the network; its initial parameters depend only on the seed.

    Raises:
        UsageError: If the network does not fit the data or the settings.
    """
    name = config.network
    if name == AUTO:
        name = "mlp" if data.source.kind == "table" else "resnet20"
    return networks.get(
        name,
        input_shape=data.source.input_shape,
        num_classes=data.source.num_classes,
        weight_decay=config.weight_decay_in_loss,
        dropout=config.dropout,
        seed=config.seed,
        sync_batch_norm=config.sync_batch_norm and config.distribution != NONE,
        network_weights=config.network_weights,
        freeze_backbone=config.freeze_backbone,
    )


def batches_of(config: RunConfig, data: PreparedData) -> Batches:
    """Returns the `Batches` of a run.

    Raises:
        UsageError: If the settings do not fit the data.
    """
    augment = augmentation(config.augment, data.source)
    return Batches(data, config.seed, config.batch_size, config.clean_batch_size, augment)


def train(
    method: str,
    config: RunConfig,
    data: PreparedData,
    *,
    listeners: Sequence[Callable[[Row], None]] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    save: Callable[[Checkpoint], None] | None = None,
    saved: Checkpoint | None = None,
) -> Training:
    """Trains a new network with one method.

    Args:
        method: The method's name; `config.method` is ignored.
        config: All other settings.
        data: The data of the run.
        listeners: Called with each epoch's row of metrics.csv.
        callbacks: Further Keras callbacks.
        save: Called with a checkpoint after every epoch, and within epochs every
            `config.checkpoint_minutes`.
        saved: A checkpoint to resume from; the result is the same as without an interruption.

    Returns:
        The finished training.

    Raises:
        TrainingDiverged: If the loss becomes NaN or infinite.
        UsageError: If the settings do not fit the data.
    """
    # The same random numbers for each method; only dropout draws them.
    keras.utils.set_random_seed(config.seed)
    network = build_network(config, data)
    batches = batches_of(config, data)
    record = _epoch_record(method, config, batches, listeners)
    best = BestEpoch(network, record, _CHOOSES[config.early_stopping_on])
    state = _State(record, best, SkipNonfinite(data.source.num_classes))
    if saved:
        state.resume(saved)
    settings = config.part(TrainingSettings)
    for phase in phases_of(method, settings, len(data.splits.train)):
        if saved and saved.progress["phase"] != phase.name:
            continue
        if phase.name == FINETUNE and config.early_stopping:
            state.best.restore()
        model = methods.get(phase.method).model(network, config.part(MethodSettings), data)
        optimizer = make_optimizer(settings, phase.learning_rate, config.weight_decay)
        _compile(model, phase, optimizer, config.part(ExecutionSettings), data)
        if config.on_nonfinite == "skip":
            state.skip.watch(model)
        in_order = [record, *([state.best] if config.early_stopping else []), *callbacks]
        if save:
            take = functools.partial(state.checkpoint, phase.name, model)
            in_order.append(SaveRegularly(take, save, config.checkpoint_minutes))
        _fit(phase, model, batches, record, in_order, saved)
        saved = None
        if phase.name == MAIN and methods.get(phase.method).uses_clean_data:
            state.example_record = model.example_record()
    final = record.rows[-1]
    if config.early_stopping and not config.finetune_steps:
        state.best.restore()
        final = record.rows[state.best.epoch]
    return Training(
        method=method,
        network=network,
        epochs=record.rows,
        final=final,
        steps=record.steps,
        train_seconds=record.train_seconds,
        step_seconds=record.step_seconds[MAIN],
        skipped_steps=state.skip.skipped,
        example_record=state.example_record,
    )


# The column of metrics.csv that --early_stopping_on names.
_CHOOSES = {"held_out": "val_accuracy", "clean": "clean_accuracy"}


def _epoch_record(
    method: str,
    config: RunConfig,
    batches: Batches,
    listeners: Sequence[Callable[[Row], None]],
) -> EpochRecord:
    data = batches.data
    held_out = data.splits.trusted_test
    clean = data.splits.clean if _can_choose_by_clean(method, config, data) else None
    return EpochRecord(
        method,
        batches.evaluation(data.splits.test),
        listeners,
        trusted_batches=None if held_out is None else batches.evaluation(held_out),
        clean_batches=None if clean is None else batches.evaluation(clean),
        evaluate_every=config.evaluate_every,
        steps_per_turn=config.reweight_every if methods.get(method).uses_clean_data else 1,
    )


_BEST, _EXAMPLES = "best/", "examples/"


@dataclasses.dataclass
class _State:
    """The state of a training besides the model of its current phase.

    Attributes:
        record: The rows of its epochs.
        best: The best epoch so far.
        skip: Undoes steps with NaN or infinity.
        example_record: `Training.example_record`, once the main phase is over.
    """

    record: EpochRecord
    best: BestEpoch
    skip: SkipNonfinite
    example_record: Mapping[str, np.ndarray] | None = None

    def checkpoint(self, phase: str, model: keras.Model) -> Checkpoint:
        """Returns a checkpoint: everything that the rest of the training depends on.

        Raises:
            TrainingDiverged: If a variable is NaN or infinite, so that every checkpoint is worth
                resuming from.
        """
        arrays = arrays_of(model)
        if not all_finite(arrays):
            raise TrainingDiverged("A parameter is not finite.", self.record.steps_of_phase)
        arrays |= {f"{_BEST}{name}": array for name, array in self.best.arrays().items()}
        examples = self.example_record or {}
        arrays |= {f"{_EXAMPLES}{name}": array for name, array in examples.items()}
        progress = {
            "phase": phase,
            "record": self.record.state(),
            "best": self.best.state(),
            "skipped": self.skip.skipped,
        }
        return Checkpoint(self.record.steps, progress, arrays)

    def resume(self, saved: Checkpoint) -> None:
        """Resumes from a checkpoint."""
        self.record.resume(saved.progress["record"])
        self.best.resume(saved.progress["best"], saved.arrays_under(_BEST))
        self.skip.resume(saved.progress["skipped"])
        self.example_record = saved.arrays_under(_EXAMPLES) or None


def _compile(
    model: keras.Model,
    phase: Phase,
    optimizer: keras.optimizers.Optimizer,
    settings: ExecutionSettings,
    data: PreparedData,
) -> None:
    model.compile(
        optimizer=optimizer,
        loss=methods.get(phase.method).loss(data),
        # Unlike the loss of `evaluate`, this cross-entropy does not include weight decay.
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
        ],
        steps_per_execution=steps_per_execution(
            settings.steps_per_execution, phase.steps_per_epoch
        ),
        jit_compile={"auto": "auto", "true": True, "false": False}[settings.jit_compile],
    )


def _fit(
    phase: Phase,
    model: keras.Model,
    batches: Batches,
    record: EpochRecord,
    callbacks: Sequence[keras.callbacks.Callback],
    saved: Checkpoint | None,
) -> None:
    """Runs the remaining epochs of a phase, from the checkpoint if there is one.

    An interrupted epoch is completed by a separate `fit`.
    """
    record.start_phase(phase)
    method, splits = methods.get(phase.method), batches.data.splits
    steps_of_epoch = (record.steps - phase.steps_before) % phase.steps_per_epoch
    parts = [(phase.last_epoch, phase.steps_per_epoch)]
    if steps_of_epoch:
        parts.insert(0, (len(record.rows) + 1, phase.steps_per_epoch - steps_of_epoch))
    resume = []
    if saved:
        resume = [Resume(saved.arrays, steps_of_epoch > 0, batches.data.source.num_classes)]
    try:
        for last_epoch, steps in parts:
            inputs = batches.training(method, record.steps)
            arguments = {}
            if method.uses_clean_data:
                arguments["clean_data"] = batches.clean(record.steps)
                arguments["track_examples"] = len(splits.train)
            else:
                # With clean data, the model itself distributes the batches.
                inputs = distribute(tf.distribute.get_strategy(), inputs)
            if len(splits.validation):
                arguments["validation_data"] = batches.evaluation(splits.validation)
                arguments["validation_freq"] = record.evaluated_epochs(
                    len(record.rows) + 1, last_epoch
                )
            model.fit(
                inputs,
                initial_epoch=len(record.rows),
                epochs=last_epoch,
                steps_per_epoch=steps,
                # The batches are shuffled already; without this, Keras warns.
                shuffle=False,
                verbose=0,
                callbacks=[*resume, *callbacks],
                **arguments,
            )
            resume = []
    except TrainingDiverged as error:
        step = phase.steps_before + error.step
        raise TrainingDiverged(
            f"The {methods.METHODS[phase.method].title} training stopped at step {step}: the loss, "
            "u or a parameter became NaN or infinite. Likely causes: a learning_rate that is too "
            f"large (it was {phase.rate_at(error.step - 1):g}; clipnorm=1 also "
            "helps), or inputs of extreme size.",
            step,
        ) from error
