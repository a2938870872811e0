"""Wrong labels and uneven classes, made from a seed alone, for experiments with a known truth."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from l2rw_tf.data.examples import Examples
from l2rw_tf.data.randomness import Stream, permutation, permutation_and_integers
from l2rw_tf.errors import UsageError

NoiseType = Literal["none", "uniform", "background", "pair"]
ImbalanceType = Literal["none", "two_class", "long_tailed"]
Part = Literal["train", "validation"]

_LABEL_STREAMS = {"train": Stream.TRAIN_LABELS, "validation": Stream.VALIDATION_LABELS}
_IMBALANCE_STREAMS = {"train": Stream.TRAIN_IMBALANCE, "validation": Stream.VALIDATION_IMBALANCE}


def corrupt(
    examples: Examples,
    *,
    noise_type: NoiseType,
    noise_ratio: float,
    num_classes: int,
    seed: int,
    background_class: int = 0,
    flip_may_keep: bool = False,
    part: Part = "train",
) -> Examples:
    """Replaces the labels of exactly round(noise_ratio * n) of n examples, chosen at random.

    Args:
        examples: Examples whose given labels are taken for true.
        noise_type: `"uniform"`: to every other class with the same chance (UniformFlip of Ren et
            al. 2018); `"background"`: to one class (BackgroundFlip); `"pair"`: from class c to
            c + 1, from the last to the first; `"none"`: no change.
        noise_ratio: Share of the labels chosen, 0 to 1. Under `"background"` a chosen label may be
            the background class already, so that fewer are really wrong.
        num_classes: Number of classes.
        seed: At least 0.
        background_class: The class that `"background"` flips to.
        flip_may_keep: Lets `"uniform"` draw from all classes, the true one too, so that noise_ratio
            (C-1)/C of C classes' labels are wrong. (In the code published with the paper a flip may
            keep its label as well.)
        part: Which part of a split this is; each has its own stream of the seed.

    Returns:
        The same examples, `y` as corrupted and `true_y` as it was.

    Raises:
        UsageError: An argument is out of range.
    """
    if noise_type not in get_args(NoiseType):
        raise UsageError(
            f"noise_type must be one of {', '.join(get_args(NoiseType))}, got {noise_type!r}."
        )
    if not 0 <= noise_ratio <= 1:
        raise UsageError(f"noise_ratio must lie between 0 and 1, got {noise_ratio}.")
    if noise_type == "background" and not 0 <= background_class < num_classes:
        raise UsageError(
            f"background_class must be a class from 0 to {num_classes - 1}, got {background_class}."
        )
    if noise_type == "none":
        return examples
    draws = num_classes if flip_may_keep else num_classes - 1
    order, draw = permutation_and_integers(len(examples), draws, seed, _LABEL_STREAMS[part])
    chosen = order[: round(noise_ratio * len(examples))]
    y = examples.y.copy()
    if noise_type == "background":
        y[chosen] = background_class
    elif noise_type == "pair":
        y[chosen] = (y[chosen] + 1) % num_classes
    elif flip_may_keep:
        y[chosen] = draw[chosen]
    else:
        y[chosen] = (y[chosen] + 1 + draw[chosen]) % num_classes
    return examples.with_labels(y)
