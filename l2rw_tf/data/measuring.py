"""Chooses what accuracy is measured on: test data with true labels, or held-out trusted examples.

Agreement with labels that may be wrong is not accuracy. Unless the labels of the test data are
declared right, some trusted examples are held out of all other parts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import numpy as np

from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.origins import content_hash
from l2rw_tf.data.settings import TRUE, TRUSTED, DataSettings
from l2rw_tf.data.splits import Splits
from l2rw_tf.errors import UsageError

# Its labels are known to be right.
EMBEDDED = "digits"


def truth_is_known(source: Source, settings: DataSettings) -> bool:
    """Returns whether true labels are known; a simulation takes the given labels as true.

    Args:
        source: The data set.
        settings: Its settings.
    """
    return (
        settings.noise_type != "none"
        or settings.labels_are_right
        or source.train.true_y is not None
        or source.name == EMBEDDED
    )


def test_is_right(source: Source, settings: DataSettings) -> bool:
    """Returns whether the test data is declared to have true labels.

    Args:
        source: The data set.
        settings: Its settings.

    Raises:
        UsageError: If this is declared, but there is no test data.
    """
    if settings.test_labels_are_right and source.test is None:
        raise UsageError(
            f"test_labels_are_right needs test data, but {source.name} has none: its test examples "
            "are a random part of its examples (--test_fraction), with labels as given."
        )
    return settings.test_labels_are_right or truth_is_known(source, settings)


def hold_out(
    source: Source, fraction: float, looked_at: Collection[str]
) -> tuple[Source, Examples | None]:
    """Holds out some trusted examples of each class, to measure accuracy on.

    The choice depends only on the contents of the examples: it is the same for every seed and in
    every round of corrections, and copies of an image stay on the same side.

    Args:
        source: The data set, with the trusted examples that were given, before corrections.
        fraction: Fraction of each class, rounded down.
        looked_at: Origins of reviewed training examples, which are not held out.

    Returns:
        The data set with the remaining trusted examples, and the held-out ones or None.
    """
    trusted = source.trusted
    if trusted is None:
        return source, None
    hashes = content_hash(trusted)
    held = np.zeros(len(trusted), bool)
    for label in np.unique(trusted.y):
        of_class = trusted.y == label
        contents, numbers = np.unique(hashes[of_class], return_counts=True)
        first = contents[np.cumsum(numbers) <= fraction * of_class.sum()]
        held |= of_class & np.isin(hashes, first)
    reviewed = source.trusted_origins.intersection(looked_at)
    held &= ~np.isin(trusted.origins, sorted(reviewed))
    if not held.any():
        return source, None
    rest = trusted.take(np.flatnonzero(~held))
    return dataclasses.replace(source, trusted=rest), trusted.take(np.flatnonzero(held))


def without_copies(parts: Splits, held_out: Examples) -> tuple[Splits, int]:
    """Leaves out examples with the content of held-out examples, whatever their labels.

    Args:
        parts: The parts of the data.
        held_out: The examples that accuracy is measured on.

    Returns:
        The parts with `trusted_test`, and the number of examples left out.
    """
    contents = content_hash(held_out)
    learned = {"train": parts.train, "clean": parts.clean, "validation": parts.validation}
    left = {name: ~np.isin(content_hash(part), contents) for name, part in learned.items()}
    rest = {
        name: part if left[name].all() else part.take(np.flatnonzero(left[name]))
        for name, part in learned.items()
    }
    number = sum(int(np.count_nonzero(~one)) for one in left.values())
    return dataclasses.replace(parts, **rest, trusted_test=held_out), number


def in_words(
    given: Examples | None, parts: Splits, test_labels: str, copies: int, fraction: float
) -> str:
    """Returns a sentence on what accuracy is measured on.

    Args:
        given: The given trusted examples, without those held out.
        parts: The parts of the data.
        test_labels: What the labels of the test part are.
        copies: Number of examples left out because they have the content of held-out ones.
        fraction: The fraction held out of each class; see `hold_out`.
    """
    if test_labels == TRUE:
        return f"accuracy is measured on {len(parts.test):,} test examples with true labels"
    left_out = f"; {copies:,} other examples with their content are left out" if copies else ""
    if test_labels == TRUSTED:
        return (
            f"accuracy is measured on {len(parts.test):,} held-out trusted examples: the data has "
            f"no test data of its own{left_out}"
        )
    labels = f"the labels of the {len(parts.test):,} test examples are as given and may be wrong"
    if parts.trusted_test is not None:
        return (
            f"accuracy is measured on {len(parts.trusted_test):,} held-out trusted examples: "
            f"{labels} (if they are right, set --test_labels_are_right){left_out}"
        )
    if given is None:
        why = "there are no trusted examples to hold out (--clean_data)"
    elif not fraction:
        why = "none of the trusted examples are held out (--trusted_test_fraction=0)"
    else:
        why = (
            f"the {len(given):,} given trusted examples are too few to hold some out: "
            f"--trusted_test_fraction={fraction:g} needs at least {math.ceil(1 / fraction):,} "
            "different ones of a class"
        )
    return f"no accuracy is measured: {labels}, and {why}"
