"""Noisy labels and class imbalance, made from a seed alone, for experiments with a known truth."""

from __future__ import annotations

from typing import Literal

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
        noise_ratio: Fraction of labels chosen, 0 to 1. Under `"background"` a chosen label may be
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
        UsageError: There is no such background class.
    """
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


def imbalance(
    examples: Examples,
    *,
    imbalance_type: ImbalanceType,
    num_classes: int,
    seed: int,
    imbalance_ratio: float = 1.0,
    num_examples: int | None = None,
    dominating_class: int = 0,
    part: Part = "train",
) -> Examples:
    """Leaves examples out at random until the classes are as imbalanced as asked for.

    Args:
        examples: The examples to choose from.
        imbalance_type: `"two_class"`: of two classes one dominates (section 4.1 of Ren et al.
            2018); `"long_tailed"`: class sizes fall geometrically from the first class to the last
            (Cui et al. 2019, arXiv 1901.05555); `"none"`: the classes stay as they are.
        num_classes: Number of classes.
        seed: At least 0.
        imbalance_ratio: Size of the largest class divided by that of the smallest; 200 stands for
            200:1, and a proportion p of two classes is p / (1 - p).
        num_examples: How many are left in all; by default as many as can be (`"none"`: all).
        dominating_class: The larger of the two classes.
        part: Which part of a split this is; each has its own stream of the seed.

    Returns:
        The examples left, in their order.

    Raises:
        UsageError: There are too few examples of a class, or not two classes for `"two_class"`.
    """
    order = permutation(len(examples), seed, _IMBALANCE_STREAMS[part])
    if imbalance_type == "none":
        if num_examples is None:
            return examples
        if num_examples > len(examples):
            raise UsageError(
                f"num_examples={num_examples}, but there are only {len(examples)} examples."
            )
        return examples.take(np.sort(order[:num_examples]))
    shares = _class_shares(imbalance_type, num_classes, imbalance_ratio, dominating_class)
    counts = _class_counts(shares, np.bincount(examples.y, minlength=num_classes), num_examples)
    left = [order[examples.y[order] == label][:count] for label, count in enumerate(counts)]
    return examples.take(np.sort(np.concatenate(left)))


def _class_shares(
    imbalance_type: str, num_classes: int, ratio: float, dominating_class: int
) -> np.ndarray:
    """Returns the share of the examples that each class is to have, (num_classes,)."""
    sizes = ratio ** -np.linspace(0, 1, num_classes)
    if imbalance_type == "two_class":
        if num_classes != 2:
            raise UsageError(
                f"imbalance_type 'two_class' needs data of 2 classes, it has {num_classes}; choose "
                "two of them."
            )
        sizes = sizes if dominating_class == 0 else sizes[::-1]
    return sizes / sizes.sum()


def _class_counts(
    shares: np.ndarray, available: np.ndarray, num_examples: int | None
) -> np.ndarray:
    """Returns how many examples each class keeps, (num_classes,)."""
    total = int(np.min(available / shares)) if num_examples is None else num_examples
    counts = np.round(total * shares).astype(np.int64)
    if num_examples is None:
        counts = np.minimum(counts, available)
    else:
        counts[np.argmax(shares)] += total - counts.sum()
    for label, (count, there) in enumerate(zip(counts, available, strict=True)):
        if not 1 <= count <= there:
            raise UsageError(
                f"so uneven, {total} examples need {count} of class {label}, of which there are "
                f"{there}; each class needs at least 1: change imbalance_ratio or num_examples."
            )
    return counts
