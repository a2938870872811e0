"""Which class a class is taken for: the maps of asymmetric noise."""

from __future__ import annotations

import numpy as np

from l2rw_tf.errors import UsageError

# Truck to automobile, bird to airplane, deer to horse, cat and dog to each other (Patrini et al.
# 2017, arXiv 1609.03683).
_CIFAR10 = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

# The superclass of each class of CIFAR-100; a class is taken for the next one of its superclass.
_SUPERCLASSES = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
    *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
    *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)


def noise_map(pairs: tuple[str, ...], dataset: str, num_classes: int) -> np.ndarray:
    """Returns which class each class is taken for.

    Args:
        pairs: Such as `("9:1", "2:0")`; empty: the map of the data set.
        dataset: The data set's name.
        num_classes: Number of classes.

    Returns:
        (num_classes,) int64; a class that the noise leaves alone stands for itself.

    Raises:
        UsageError: If a pair is none of two classes, or if there are none and the data set has no
            map.
    """
    found = np.arange(num_classes)
    for source, target in _pairs(pairs, num_classes) if pairs else _of_dataset(dataset):
        found[source] = target
    return found


def _pairs(pairs: tuple[str, ...], num_classes: int) -> list[tuple[int, int]]:
    found = []
    for pair in pairs:
        classes = [int(one) for one in pair.split(":") if one.isdecimal()]
        if len(classes) != 2 or pair.count(":") != 1 or max(classes) >= num_classes:
            raise UsageError(
                f"noise_map must be pairs of classes from 0 to {num_classes - 1}, such as 9:1,2:0 "
                f"(9 is taken for 1), got {pair!r}."
            )
        found.append((classes[0], classes[1]))
    return found


def _of_dataset(dataset: str) -> list[tuple[int, int]]:
    if dataset.partition("/")[0].partition(":")[0] in ("cifar10", "cifar10_n"):
        return list(_CIFAR10.items())
    if dataset.partition("/")[0].partition(":")[0] == "cifar100":
        groups = np.array(_SUPERCLASSES)
        members = [np.flatnonzero(groups == group) for group in range(20)]
        return [pair for one in members for pair in zip(one, np.roll(one, -1), strict=True)]
    raise UsageError(
        f"noise_type=asymmetric needs a noise_map, such as 9:1,2:0 (9 is taken for 1); only "
        f"cifar10 and cifar100 have one of their own, got dataset={dataset}."
    )
