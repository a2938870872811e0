"""The phases of a training and their optimizers, derived from the settings alone."""

from __future__ import annotations

import dataclasses

import keras

from l2rw_tf import methods
from l2rw_tf.data import pipeline
from l2rw_tf.errors import UsageError
from l2rw_tf.runs.config import TrainingSettings

FIRST, MAIN, FINETUNE = "first", "main", "finetune"

LearningRate = keras.optimizers.schedules.LearningRateSchedule | float


@dataclasses.dataclass(frozen=True)
class Phase:
    """One `fit` of a training.

    Attributes:
        name: FIRST, MAIN or FINETUNE.
        method: The name of the training method of this phase.
        steps_per_epoch: Steps per epoch.
        epochs: Number of epochs.
        learning_rate: A number, or a schedule over the steps of this phase.
        epochs_before: Epochs of all earlier phases.
        steps_before: Steps of all earlier phases.
    """

    name: str
    method: str
    steps_per_epoch: int
    epochs: int
    learning_rate: LearningRate
    epochs_before: int = 0
    steps_before: int = 0

    @property
    def last_epoch(self) -> int:
        """The last epoch of this phase, counted from 1 over all phases."""
        return self.epochs_before + self.epochs

    def rate_at(self, step: int) -> float:
        """Returns the learning rate at a step, counted from 0 within this phase."""
        rate = self.learning_rate
        return float(rate(step)) if callable(rate) else rate


def phases_of(method: str, settings: TrainingSettings, num_train: int) -> list[Phase]:
    """Returns the phases of a training; all methods take the same number of steps.

    Fine-tuning, if asked for, comes on top.

    Args:
        method: The name of the method.
        settings: Length, learning rate and optimizer.
        num_train: Number of training examples.

    Raises:
        UsageError: If the method has two phases and there is only one epoch.
    """
    steps, epochs = length(settings, num_train)
    before = methods.get(method).first
    if before and epochs < 2:
        raise UsageError(
            f"method {method} trains in two phases: epochs must be at least 2, got {epochs}."
        )
    first = epochs // 2 if before else 0
    rate = schedule(settings, steps, first * steps)
    main = Phase(MAIN, method, steps, epochs - first, rate, first, first * steps)
    found = [main]
    if before:
        found.insert(0, Phase(FIRST, before, steps, first, schedule(settings, steps)))
    if settings.finetune_steps:
        rate = settings.finetune_learning_rate
        if rate is None:
            rate = main.rate_at(main.epochs * steps - 1)
        found.append(
            Phase(FINETUNE, "clean_only", settings.finetune_steps, 1, rate, epochs, epochs * steps)
        )
    return found


def steps_of_epochs(method: str, settings: TrainingSettings, num_train: int) -> list[int]:
    """Returns the number of steps of each epoch of a training, over all phases."""
    found = phases_of(method, settings, num_train)
    return [phase.steps_per_epoch for phase in found for _ in range(phase.epochs)]


def length(settings: TrainingSettings, num_train: int) -> tuple[int, int]:
    """Returns (steps per epoch, number of epochs)."""
    steps = pipeline.steps_per_epoch(num_train, settings.batch_size)
    if settings.max_steps is None:
        return steps, settings.epochs
    if settings.max_steps < steps:
        return settings.max_steps, 1
    return steps, min(settings.epochs, settings.max_steps // steps)


def schedule(settings: TrainingSettings, steps_per_epoch: int, first_step: int = 0) -> LearningRate:
    """Returns the learning rate, or a schedule over the steps counted from `first_step`."""
    if not settings.lr_decay_epochs:
        return settings.learning_rate
    # Keras changes the rate after the boundary step, counted from 0.
    boundaries = [
        round(epoch * steps_per_epoch) - 1 - first_step for epoch in settings.lr_decay_epochs
    ]
    rates = [
        settings.learning_rate * settings.lr_decay_factor**decays
        for decays in range(len(boundaries) + 1)
    ]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def make_optimizer(
    settings: TrainingSettings, learning_rate: LearningRate, weight_decay: float
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a phase.

    Args:
        settings: Kind of optimizer, momentum and gradient clipping.
        learning_rate: Learning rate of the phase.
        weight_decay: Used by AdamW only; for other optimizers it is part of the loss.
    """
    common = {"learning_rate": learning_rate, "global_clipnorm": settings.clipnorm}
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=settings.momentum, **common)
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=weight_decay, **common)
    return keras.optimizers.Adam(**common)


def steps_per_execution(asked: int, steps_per_epoch: int) -> int:
    """Returns the largest divisor of `steps_per_epoch` up to `asked`: Keras takes whole groups."""
    asked = min(asked, steps_per_epoch)
    return next(steps for steps in range(asked, 0, -1) if steps_per_epoch % steps == 0)
