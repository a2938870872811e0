"""Simulated label noise and class imbalance, determined by a seed, for data with known labels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from l2rw_tf.data.examples import Examples
from l2rw_tf.data.noise_maps import noise_map
from l2rw_tf.data.randomness import Stream, permutation, permutation_and_integers
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import UsageError

Part = Literal["train", "clean", "validation"]

_LABEL_STREAMS = {
    "train": Stream.TRAIN_LABELS,
    "clean": Stream.CLEAN_LABELS,
    "validation": Stream.VALIDATION_LABELS,
}
_IMBALANCE_STREAMS = {"train": Stream.TRAIN_IMBALANCE, "validation": Stream.VALIDATION_IMBALANCE}


def corrupt(
    examples: Examples, settings: DataSettings, num_classes: int, seed: int, part: Part = "train"
) -> Examples:
    """Replaces the labels of exactly round(noise_ratio * n) of n examples, chosen at random.

    For asymmetric noise, n counts only the examples of the classes in its map.

    Args:
        examples: Examples whose given labels count as true.
        settings: `noise_type`: `"uniform"`: to any other class with equal probability (UniformFlip
            of Ren et al. 2018); `"background"`: to one class (BackgroundFlip), which some of the
            chosen examples may have already; `"pair"`: from class c to c + 1, from the last to the
            first; `"asymmetric"`: from each class to another one, by `noise_map`. `flip_may_keep`
            lets `"uniform"` draw from all C classes, including the true one, so that a fraction
            noise_ratio (C-1)/C of the labels is wrong.
        num_classes: Number of classes.
        seed: At least 0.
        part: The part of the split; each part has its own random stream.

    Returns:
        The same examples, with corrupted labels `y` and unchanged `true_y`.

    Raises:
        UsageError: If the background class does not exist, or the noise map is invalid.
    """
    noise_type, background = settings.noise_type, settings.background_class
    if noise_type == "background" and background >= num_classes:
        raise UsageError(
            f"background_class must be a class from 0 to {num_classes - 1}, got {background}."
        )
    if noise_type == "none":
        return examples
    draws = num_classes if settings.flip_may_keep else num_classes - 1
    order, draw = permutation_and_integers(len(examples), draws, seed, _LABEL_STREAMS[part])
    y = examples.y.copy()
    if noise_type == "asymmetric":
        taken_for = noise_map(settings.noise_map, settings.dataset, num_classes)
        order = order[taken_for[y[order]] != y[order]]
    chosen = order[: round(settings.noise_ratio * len(order))]
    if noise_type == "background":
        y[chosen] = background
    elif noise_type == "pair":
        y[chosen] = (y[chosen] + 1) % num_classes
    elif noise_type == "asymmetric":
        y[chosen] = taken_for[y[chosen]]
    elif settings.flip_may_keep:
        y[chosen] = draw[chosen]
    else:
        y[chosen] = (y[chosen] + 1 + draw[chosen]) % num_classes
    return examples.with_labels(y)


def imbalance(
    examples: Examples, settings: DataSettings, num_classes: int, seed: int, part: Part = "train"
) -> Examples:
    """Removes random examples to make the classes as imbalanced as the settings say.

    Args:
        examples: The examples to choose from.
        settings: `imbalance_type`: `"two_class"`: one of two classes dominates (section 4.1 of Ren
            et al. 2018); `"long_tailed"`: class sizes fall geometrically from the first class to
            the last (Cui et al. 2019, arXiv 1901.05555). `num_examples` applies to the training
            part only; the other parts keep as many examples as possible.
        num_classes: Number of classes.
        seed: At least 0.
        part: The part of the split; each part has its own random stream.

    Returns:
        The remaining examples, in their order.

    Raises:
        UsageError: If a class has too few examples, or `"two_class"` data is not of two classes.
    """
    num_examples = settings.num_examples if part == "train" else None
    order = permutation(len(examples), seed, _IMBALANCE_STREAMS[part])
    if settings.imbalance_type == "none":
        if num_examples is None:
            return examples
        if num_examples > len(examples):
            raise UsageError(
                f"num_examples={num_examples}, but there are only {len(examples)} examples."
            )
        return examples.take(np.sort(order[:num_examples]))
    shares = _class_shares(settings, num_classes)
    counts = _class_counts(shares, np.bincount(examples.y, minlength=num_classes), num_examples)
    left = [order[examples.y[order] == label][:count] for label, count in enumerate(counts)]
    return examples.take(np.sort(np.concatenate(left)))


def _class_shares(settings: DataSettings, num_classes: int) -> np.ndarray:
    """Returns the fraction of the examples wanted of each class, (num_classes,)."""
    sizes = settings.imbalance_ratio ** -np.linspace(0, 1, num_classes)
    if settings.imbalance_type == "two_class":
        if num_classes != 2:
            raise UsageError(
                f"imbalance_type 'two_class' needs data of 2 classes, but it has {num_classes}; "
                "choose two with classes."
            )
        sizes = sizes if settings.dominating_class == 0 else sizes[::-1]
    return sizes / sizes.sum()


def _class_counts(
    shares: np.ndarray, available: np.ndarray, num_examples: int | None
) -> np.ndarray:
    """Returns the number of examples that each class keeps, (num_classes,)."""
    total = int(np.min(available / shares)) if num_examples is None else num_examples
    counts = np.round(total * shares).astype(np.int64)
    if num_examples is None:
        counts = np.minimum(counts, available)
    else:
        counts[np.argmax(shares)] += total - counts.sum()
    for label, (count, there) in enumerate(zip(counts, available, strict=True)):
        if not 1 <= count <= there:
            raise UsageError(
                f"with this imbalance, {total} examples need {count} of class {label}, which has "
                f"{there}; each class needs at least 1: change imbalance_ratio or num_examples."
            )
    return counts
