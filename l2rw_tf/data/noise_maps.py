"""The maps of asymmetric noise: the class that the label of each class changes to."""

from __future__ import annotations

import numpy as np

from l2rw_tf.errors import UsageError

# Truck to automobile, bird to airplane, deer to horse, cat and dog to each other (Patrini et al.
# 2017, arXiv 1609.03683).
_CIFAR10 = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

# The superclass of each class of CIFAR-100; a label changes to the next class of its superclass.
_SUPERCLASSES = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
    *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
    *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)


def noise_map(pairs: tuple[str, ...], dataset: str, num_classes: int) -> np.ndarray:
    """Returns the class that the label of each class changes to.

    Args:
        pairs: Pairs of classes such as `("9:1", "2:0")`; if empty, the map of the data set.
        dataset: The data set's name.
        num_classes: Number of classes.

    Returns:
        (num_classes,) int64; a class without noise maps to itself.

    Raises:
        UsageError: If a pair is invalid, or there are no pairs and the data set has no map.
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
                f"(9 changes to 1), got {pair!r}."
            )
        source, target = classes
        if source == target or source in dict(found):
            problem = "keeps the class" if source == target else "gives the class a second target"
            raise UsageError(f"noise_map={','.join(pairs)}: the pair {pair} {problem}.")
        found.append((source, target))
    return found


def _of_dataset(dataset: str) -> list[tuple[int, int]]:
    if dataset.partition("/")[0].partition(":")[0] in ("cifar10", "cifar10_n"):
        return list(_CIFAR10.items())
    if dataset.partition("/")[0].partition(":")[0] == "cifar100":
        groups = np.array(_SUPERCLASSES)
        members = [np.flatnonzero(groups == group) for group in range(20)]
        return [pair for one in members for pair in zip(one, np.roll(one, -1), strict=True)]
    raise UsageError(
        f"noise_type=asymmetric needs a noise_map, such as 9:1,2:0 (9 changes to 1); only cifar10, "
        f"cifar10_n and cifar100 have a default, got dataset={dataset}."
    )
