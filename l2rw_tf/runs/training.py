"""One training of one network: what `fit` is given, and what comes out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf import networks
from l2rw_tf.data import pipeline
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.methods import METHODS, Method
from l2rw_tf.reweighting.feeding.batches import EXAMPLES, IDS
from l2rw_tf.reweighting.feeding.shards import distribute
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.distribution import NONE
from l2rw_tf.runs.epoch_record import EpochRecord, Row
from l2rw_tf.runs.nonfinite import SkipNonfinite
from l2rw_tf.runs.resume.checkpoints import Checkpoint
from l2rw_tf.runs.resume.training_state import SaveRegularly, TakeUp, all_finite, arrays_of

FIRST, MAIN, FINETUNE = "first", "main", "finetune"

# Clean batches have a stream of random numbers of their own beside the training batches'.
_CLEAN_SEED_OFFSET = 2**32


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        method: Its name in `METHODS`.
        network: The bare network, trained.
        epochs: A row of metrics.csv for each epoch.
        final: The row of the network as it is: the last, or the one that was gone back to.
        steps: Steps taken.
        train_seconds: Time spent on training steps, compilation included, evaluation left out.
        step_seconds: Median time of a step of the main phase.
        skipped_steps: Steps that were dropped since they met NaN or infinity.
        example_record: What the main phase gave the training examples, in their order, by column
            (`ReweightingModel.example_record`); None for methods that give nothing.
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
    """Finds what `train` would refuse, before anything is written.

    Raises:
        UsageError: If settings and data do not fit each other.
    """
    build_network(config, data)
    _augmentation(config, data)
    _phases(config.method, config, data)
    parts = METHODS[config.method]
    if parts.sample_weights is not None:
        parts.sample_weights(config, data)


def build_network(config: RunConfig, data: PreparedData) -> keras.Model:
    """Builds the network with the initial parameters that the seed gives.

    Raises:
        UsageError: If the network does not fit the data or the settings.
    """
    name = config.network
    if name == "auto":
        name = "mlp" if data.source.kind == "table" else "resnet20"
    # AdamW decays the parameters itself.
    weight_decay = 0.0 if config.optimizer == "adamw" else config.weight_decay
    return networks.get(
        name,
        input_shape=data.source.input_shape,
        num_classes=data.source.num_classes,
        weight_decay=weight_decay,
        dropout=config.dropout,
        seed=config.seed,
        sync_batch_norm=config.sync_batch_norm and config.distribution != NONE,
    )


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
    """Trains a network of its own with one method.

    Args:
        method: The method's name; the config's own is not looked at.
        config: Everything else.
        data: What to train on.
        listeners: Called with each epoch's row of metrics.csv.
        callbacks: Further callbacks of Keras.
        save: Called with all that the rest of the training depends on, after every epoch and as
            often within epochs as the config says.
        saved: What it was called with, to go on from there: the training ends as it would have.

    Returns:
        The training.

    Raises:
        TrainingDiverged: If the loss becomes NaN or infinite.
        UsageError: If settings and data do not fit each other.
    """
    # The same numbers for each method: dropout is the only thing that draws them.
    keras.utils.set_random_seed(config.seed)
    network = build_network(config, data)
    record = EpochRecord(
        method,
        test_batches=_evaluation_batches(data.splits.test, config, data),
        listeners=listeners,
    )
    under_way = _UnderWay(record, _BestEpoch(network), SkipNonfinite(data.source.num_classes))
    if saved:
        under_way.take_up(saved)
    for phase in _phases(method, config, data):
        if saved and saved.progress["phase"] != phase.name:
            continue
        if phase.name == FINETUNE and config.early_stopping:
            under_way.best.restore()
        model = _model(phase, network, config, data)
        if config.on_nonfinite == "skip":
            under_way.skip.watch(model)
        in_order = [*under_way.callbacks(config), *callbacks]
        if save:
            take = functools.partial(under_way.checkpoint, phase, model)
            in_order.append(SaveRegularly(take, save, config.checkpoint_minutes))
        _fit(phase, model, config, data, record, in_order, saved.arrays if saved else None)
        saved = None
        if phase.name == MAIN and phase.method.uses_clean_data:
            under_way.example_record = model.example_record()
    final = record.rows[-1]
    if config.early_stopping and not config.finetune_steps:
        under_way.best.restore()
        final = record.rows[under_way.best.epoch]
    return Training(
        method=method,
        network=network,
        epochs=record.rows,
        final=final,
        steps=record.steps,
        train_seconds=record.train_seconds,
        step_seconds=record.step_seconds[MAIN],
        skipped_steps=under_way.skip.skipped,
        example_record=under_way.example_record,
    )


_BEST, _EXAMPLES = "best/", "examples/"


@dataclasses.dataclass
class _UnderWay:
    """What a training has beside its model.

    Attributes:
        record: What is written down of its epochs.
        best: The best epoch so far.
        skip: What drops steps that meet NaN or infinity.
        example_record: As of `Training`, once the main phase is over.
    """

    record: EpochRecord
    best: _BestEpoch
    skip: SkipNonfinite
    example_record: Mapping[str, np.ndarray] | None = None

    def callbacks(self, config: RunConfig) -> list[keras.callbacks.Callback]:
        """Those that the settings ask for."""
        return [self.record, *([self.best] if config.early_stopping else [])]

    def checkpoint(self, phase: _Phase, model: keras.Model) -> Checkpoint:
        """Returns all that the rest of the training depends on.

        Raises:
            TrainingDiverged: If a parameter is NaN or infinite: a checkpoint is good to go on from.
        """
        arrays = arrays_of(model)
        if not all_finite(arrays):
            raise TrainingDiverged("A parameter is not finite.", self.record.steps_of_fit)
        arrays |= {f"{_BEST}{name}": array for name, array in self.best.arrays().items()}
        examples = self.example_record or {}
        arrays |= {f"{_EXAMPLES}{name}": array for name, array in examples.items()}
        progress = {
            "phase": phase.name,
            "record": self.record.state(),
            "best": self.best.state(),
            "skipped": self.skip.skipped,
        }
        return Checkpoint(self.record.steps, progress, arrays)

    def take_up(self, saved: Checkpoint) -> None:
        """Goes on from a checkpoint."""
        self.record.take_up(saved.progress["record"])
        self.best.take_up(saved.progress["best"], _part(saved.arrays, _BEST))
        self.skip.take_up(saved.progress["skipped"])
        self.example_record = _part(saved.arrays, _EXAMPLES) or None


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


@dataclasses.dataclass(frozen=True)
class _Phase:
    """One `fit` of a training.

    Attributes:
        name: FIRST, MAIN or FINETUNE.
        method: What it trains with.
        steps_per_epoch: Steps of an epoch.
        epochs: How many.
        learning_rate: A number, or a schedule over the steps of this phase.
        epochs_before: Epochs of the phases before it.
        steps_before: Steps of the phases before it.
    """

    name: str
    method: Method
    steps_per_epoch: int
    epochs: int
    learning_rate: keras.optimizers.schedules.LearningRateSchedule | float
    epochs_before: int
    steps_before: int


def _phases(method: str, config: RunConfig, data: PreparedData) -> list[_Phase]:
    """The phases of a training; fine-tuning apart, all methods take the same number of steps."""
    parts = METHODS[method]
    steps, epochs = _length(config, len(data.splits.train))
    first = 0
    if parts.first:
        if epochs < 2:
            raise UsageError(
                f"method {method} trains in two phases: epochs must be at least 2, got {epochs}."
            )
        first = epochs // 2
    rate = _schedule(config, steps, first * steps)
    phases = [_Phase(MAIN, parts, steps, epochs - first, rate, first, first * steps)]
    if first:
        rate_at_first = _schedule(config, steps)
        phases.insert(0, _Phase(FIRST, METHODS[parts.first], steps, first, rate_at_first, 0, 0))
    if config.finetune_steps:
        if config.finetune_learning_rate is not None:
            rate = config.finetune_learning_rate
        elif callable(rate):
            rate = float(rate((epochs - first) * steps - 1))
        tuning = METHODS["clean_only"]
        phases.append(
            _Phase(FINETUNE, tuning, config.finetune_steps, 1, rate, epochs, epochs * steps)
        )
    return phases


def _model(
    phase: _Phase, network: keras.Model, config: RunConfig, data: PreparedData
) -> keras.Model:
    """The model whose `fit` trains the network in a phase."""
    model = phase.method.model(network, config, data)
    model.compile(
        optimizer=_optimizer(config, phase.learning_rate),
        loss=phase.method.loss(data),
        # The loss of `evaluate` has the weight decay in it; this has not.
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
        ],
        steps_per_execution=_steps_per_execution(config, phase.steps_per_epoch),
        jit_compile={"auto": "auto", "true": True, "false": False}[config.jit_compile],
    )
    return model


def _fit(
    phase: _Phase,
    model: keras.Model,
    config: RunConfig,
    data: PreparedData,
    record: EpochRecord,
    callbacks: Sequence[keras.callbacks.Callback],
    saved: Mapping[str, np.ndarray] | None,
) -> None:
    """Runs what the record lacks of a phase, from the variables that were saved if there are any.

    An epoch that was interrupted is ended by a `fit` of its own.
    """
    record.start_phase(phase.name, phase.learning_rate, phase.steps_before)
    last_epoch = phase.epochs_before + phase.epochs
    steps_of_epoch = (record.steps - phase.steps_before) % phase.steps_per_epoch
    if saved:
        callbacks = [TakeUp(saved, steps_of_epoch > 0, data.source.num_classes), *callbacks]
    if steps_of_epoch:
        left = phase.steps_per_epoch - steps_of_epoch
        _fit_epochs(phase, model, config, data, record, callbacks, len(record.rows) + 1, left)
        callbacks = callbacks[1:]
    _fit_epochs(phase, model, config, data, record, callbacks, last_epoch, phase.steps_per_epoch)


def _fit_epochs(
    phase: _Phase,
    model: keras.Model,
    config: RunConfig,
    data: PreparedData,
    record: EpochRecord,
    callbacks: Sequence[keras.callbacks.Callback],
    last_epoch: int,
    steps_per_epoch: int,
) -> None:
    """Calls `fit` up to an epoch, from where the record is."""
    arguments = {}
    if len(data.splits.validation):
        arguments["validation_data"] = _evaluation_batches(data.splits.validation, config, data)
    if phase.method.uses_clean_data:
        arguments["clean_data"] = _clean_batches(
            config, data, config.clean_batch_size or config.batch_size, start_step=record.steps
        )
        arguments["track_examples"] = len(data.splits.train)
    first_step = record.steps
    batches = _batches(phase.method, config, data, start_step=first_step)
    if not phase.method.uses_clean_data:
        # Together with clean data, the model does it.
        batches = distribute(tf.distribute.get_strategy(), batches)
    try:
        model.fit(
            batches,
            initial_epoch=len(record.rows),
            epochs=last_epoch,
            steps_per_epoch=steps_per_epoch,
            # The batches are shuffled already; Keras warns unless it is told that it has nothing to
            # do.
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
            **arguments,
        )
    except TrainingDiverged as error:
        step = first_step + error.step
        raise TrainingDiverged(
            f"The {phase.method.title} training stopped at step {step}: the loss, u or a parameter "
            "became NaN or infinite. Likely causes: a learning_rate that is too large (it was "
            f"{config.learning_rate:g}; clipnorm=1 helps too), or inputs of extreme size.",
            step,
        ) from error


def _batches(
    parts: Method, config: RunConfig, data: PreparedData, start_step: int
) -> tf.data.Dataset:
    """What `fit` trains on: (x, y), or (x, y, sample weight) where the method weights examples."""
    if parts.part == "clean":
        return _clean_batches(config, data, config.batch_size, start_step)
    batches = pipeline.training_batches(
        data.splits.train,
        data.preprocessing,
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start_step,
        augment=_augmentation(config, data),
        with_positions=parts.uses_clean_data,
        sampling=parts.sampling,
    )
    if parts.uses_clean_data:
        # The record has a row a training example, whatever the ids in their source are.
        return batches.map(lambda x, y, positions: {EXAMPLES: (x, y), IDS: positions})
    if parts.sample_weights is None:
        return batches
    weigh = parts.sample_weights(config, data)
    return batches.enumerate(start_step).map(lambda step, batch: (*batch, weigh(step, batch[1])))


def _clean_batches(
    config: RunConfig, data: PreparedData, batch_size: int, start_step: int
) -> tf.data.Dataset:
    return pipeline.training_batches(
        data.splits.clean,
        data.preprocessing,
        batch_size=min(batch_size, len(data.splits.clean)),
        seed=config.seed + _CLEAN_SEED_OFFSET,
        start_step=start_step,
        augment=_augmentation(config, data),
    )


class _BestEpoch(keras.callbacks.Callback):
    """Keeps the network of the epoch with the best accuracy on held-out labels (first of equals).

    Attributes:
        epoch: That epoch, counted from 0.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.epoch = -1
        self._network = network
        self._accuracy = -1.0
        self._weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        accuracy = (logs or {}).get("val_accuracy", -1.0)
        if accuracy > self._accuracy:
            self.epoch, self._accuracy = epoch, accuracy
            self._weights = self._network.get_weights()

    def state(self) -> dict[str, Any]:
        """Returns what `take_up` takes, as JSON can hold it; `arrays` has the rest."""
        return {"epoch": self.epoch, "accuracy": self._accuracy}

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters of that epoch by name."""
        return {f"{number:04}": value for number, value in enumerate(self._weights)}

    def take_up(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from a saved state."""
        self.epoch, self._accuracy = state["epoch"], state["accuracy"]
        self._weights = [arrays[name] for name in sorted(arrays)]

    def restore(self) -> None:
        """Sets the network back to that epoch."""
        self._network.set_weights(self._weights)


def _length(config: RunConfig, num_train: int) -> tuple[int, int]:
    """Returns the steps of an epoch and the number of epochs."""
    steps = pipeline.steps_per_epoch(num_train, config.batch_size)
    if config.max_steps is None:
        return steps, config.epochs
    if config.max_steps < steps:
        return config.max_steps, 1
    return steps, min(config.epochs, config.max_steps // steps)


def _steps_per_execution(config: RunConfig, steps_per_epoch: int) -> int:
    """The largest divisor of an epoch's steps up to the config's: Keras only takes whole groups."""
    asked = min(config.steps_per_execution, steps_per_epoch)
    return next(steps for steps in range(asked, 0, -1) if steps_per_epoch % steps == 0)


def _schedule(
    config: RunConfig, steps_per_epoch: int, first_step: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """The learning rate as a function of the step after the first one."""
    if not config.lr_decay_epochs:
        return config.learning_rate
    # Keras changes the rate after the boundary's step, counted from 0.
    boundaries = [
        round(epoch * steps_per_epoch) - 1 - first_step for epoch in config.lr_decay_epochs
    ]
    rates = [
        config.learning_rate * config.lr_decay_factor**decays
        for decays in range(len(boundaries) + 1)
    ]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _optimizer(
    config: RunConfig, learning_rate: keras.optimizers.schedules.LearningRateSchedule | float
) -> keras.optimizers.Optimizer:
    arguments: dict[str, Any] = {
        "learning_rate": learning_rate,
        "global_clipnorm": config.clipnorm,
    }
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=config.momentum, **arguments)
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=config.weight_decay, **arguments)
    return keras.optimizers.Adam(**arguments)


def _augmentation(config: RunConfig, data: PreparedData) -> str:
    if data.source.kind == "table" and config.augment not in ("auto", "none"):
        raise UsageError(f"augment={config.augment} is for images: for a table it must be none.")
    if config.augment != "auto":
        return config.augment
    colour = data.source.kind == "image" and data.source.input_shape[-1] == 3
    return "crop_flip" if colour else "none"


def _evaluation_batches(examples: Any, config: RunConfig, data: PreparedData) -> Any:
    return pipeline.evaluation_batches(
        examples, data.preprocessing, batch_size=max(config.batch_size, 500)
    )
