"""One training of one network: what `fit` is given, and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras

from l2rw_tf import networks
from l2rw_tf.data import pipeline
from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.experiment.config import RunConfig
from l2rw_tf.experiment.epoch_record import EpochRecord, Row
from l2rw_tf.experiment.methods import METHODS
from l2rw_tf.experiment.prepared_data import PreparedData

# Clean batches have a stream of random numbers of their own beside the training batches'.
_CLEAN_SEED_OFFSET = 2**32


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        method: Its name in `METHODS`.
        network: The bare network, trained.
        epochs: A row of metrics.csv for each epoch.
        steps: Steps taken.
        train_seconds: Time spent on training steps, compilation included, evaluation left out.
        step_seconds: Median time of a step.
    """

    method: str
    network: keras.Model
    epochs: list[Row]
    steps: int
    train_seconds: float
    step_seconds: float


def check(config: RunConfig, data: PreparedData) -> None:
    """Finds what `train` would refuse, before anything is written.

    Raises:
        UsageError: If settings and data do not fit each other.
    """
    build_network(config, data)
    _augmentation(config, data)


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
    )


def train(
    method: str,
    config: RunConfig,
    data: PreparedData,
    *,
    listeners: Sequence[Callable[[Row], None]] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Training:
    """Trains a network of its own with one method.

    Args:
        method: The method's name; the config's own is not looked at.
        config: Everything else.
        data: What to train on.
        listeners: Called with each epoch's row of metrics.csv.
        callbacks: Further callbacks of Keras.

    Returns:
        The training.

    Raises:
        TrainingDiverged: If the loss becomes NaN or infinite.
        UsageError: If settings and data do not fit each other.
    """
    parts, part = METHODS[method], data.splits
    steps_per_epoch, epochs = _length(config, len(part.train))
    # The same numbers for each method: dropout is the only thing that draws them.
    keras.utils.set_random_seed(config.seed)
    network = build_network(config, data)
    model = parts.trainable_model(network, config)
    model.compile(
        optimizer=_optimizer(config, steps_per_epoch),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # The loss of `evaluate` has the weight decay in it; this has not.
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy"),
        ],
        steps_per_execution=_steps_per_execution(config, steps_per_epoch),
        jit_compile={"auto": "auto", "true": True, "false": False}[config.jit_compile],
    )
    augment = _augmentation(config, data)
    record = EpochRecord(
        method,
        learning_rate=_schedule(config, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        test_batches=_evaluation_batches(part.test, config, data),
        listeners=listeners,
    )
    arguments = {}
    if len(part.validation):
        arguments["validation_data"] = _evaluation_batches(part.validation, config, data)
    if parts.uses_clean_data:
        if not len(part.clean):
            raise UsageError(f"method {method} needs clean data: num_clean must be at least 1.")
        arguments["clean_data"] = pipeline.training_batches(
            part.clean,
            data.preprocessing,
            batch_size=min(config.clean_batch_size or config.batch_size, len(part.clean)),
            seed=config.seed + _CLEAN_SEED_OFFSET,
            augment=augment,
        )
    model.fit(
        pipeline.training_batches(
            part.train,
            data.preprocessing,
            batch_size=config.batch_size,
            seed=config.seed,
            augment=augment,
        ),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        # The batches are shuffled already; Keras warns unless it is told that it has nothing to do.
        shuffle=False,
        verbose=0,
        callbacks=[record, *callbacks],
        **arguments,
    )
    if record.diverged_at_step:
        raise TrainingDiverged(
            f"{parts.title} training met a loss that is not finite at step "
            f"{record.diverged_at_step}: try a smaller learning_rate (it was "
            f"{config.learning_rate:g}) or clipnorm.",
            record.diverged_at_step,
        )
    return Training(
        method=method,
        network=network,
        epochs=record.rows,
        steps=epochs * steps_per_epoch,
        train_seconds=record.train_seconds,
        step_seconds=record.step_seconds,
    )


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
    config: RunConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """The learning rate as a function of the step."""
    if not config.lr_decay_epochs:
        return config.learning_rate
    # Keras changes the rate after the boundary's step, counted from 0.
    boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in config.lr_decay_epochs]
    rates = [
        config.learning_rate * config.lr_decay_factor**decays
        for decays in range(len(boundaries) + 1)
    ]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _optimizer(config: RunConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    arguments: dict[str, Any] = {
        "learning_rate": _schedule(config, steps_per_epoch),
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
