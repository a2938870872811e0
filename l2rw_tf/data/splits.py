"""Training, clean, validation and test examples of one source."""

from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.randomness import Stream, permutation
from l2rw_tf.data.settings import DEFAULT_CLEAN_PER_CLASS, DataSettings
from l2rw_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Splits:
    """The parts of one source, with the labels of the source before any label noise.

    Attributes:
        train: The training examples.
        clean: The few examples with trusted labels.
        validation: Held-out examples that choose an epoch or a learning rate; may be empty.
        test: The examples that results are reported on.
        trusted_test: Trusted examples held out of all other parts, to measure accuracy if the
            labels of `test` may be wrong; otherwise None.
    """

    train: Examples
    clean: Examples
    validation: Examples
    test: Examples
    trusted_test: Examples | None = None


def split(source: Source, settings: DataSettings, seed: int) -> Splits:
    """Splits a source, determined by the seed.

    In one random order, the clean examples come first (of each class, if they are balanced) and the
    validation examples last. So a larger clean set contains the smaller one, and runs that differ
    in the number of clean examples have (nearly) the same validation examples. If there are trusted
    examples, these are the clean examples instead (all of them, unless a number is given). If true
    labels are known, clean and test examples have them.

    Args:
        source: The data set.
        settings: The number of examples in each part. If `num_clean` is not a multiple of the
            number of classes, a random choice of classes has one more than the others.
        seed: At least 0.

    Raises:
        UsageError: If there are too few examples.
    """
    data, test = source.train, source.test
    if test is None:
        data, test = _split_test(data, settings.test_fraction, seed)
    order = permutation(len(data), seed, Stream.CLEAN_SPLIT)
    if source.trusted is None:
        pool, where = data.with_true_labels(), f"the training part of {source.name}"
        clean = chosen = _choose(pool, order, where, source, settings, seed)
    elif settings.clean_in_train:
        raise UsageError("clean_in_train cannot be used with trusted examples outside the data.")
    else:
        pool, clean = source.trusted, order[:0]
        chosen = permutation(len(pool), seed, Stream.CLEAN_SPLIT)
        if settings.clean_per_class is not None or settings.num_clean is not None:
            chosen = _choose(pool, chosen, "the trusted data", source, settings, seed)
    rest = order[~np.isin(order, clean)]
    num_validation = round(settings.validation_fraction * len(data))
    if num_validation >= len(rest):
        raise UsageError(
            f"no training examples are left: of {len(data)}, {len(clean)} are clean and "
            f"validation_fraction={settings.validation_fraction} holds out {num_validation}; lower "
            "one of them."
        )
    train, validation = np.split(rest, [len(rest) - num_validation])
    if settings.clean_in_train:
        train = np.concatenate([train, clean])
    return Splits(
        train=data.take(np.sort(train)),
        clean=pool.take(np.sort(chosen)).in_memory(),
        validation=data.take(np.sort(validation)),
        test=test.with_true_labels(),
    )


def _split_test(data: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Returns the examples without a random fraction for testing, and that fraction."""
    num_test = round(fraction * len(data))
    if not 0 < num_test < len(data):
        raise UsageError(
            f"the data has no test part of its own, and test_fraction={fraction} takes {num_test} "
            f"of its {len(data)} examples for testing; at least 1 must be taken and 1 left."
        )
    order = permutation(len(data), seed, Stream.TEST_SPLIT)
    return data.take(np.sort(order[num_test:])), data.take(np.sort(order[:num_test]))


def _clean_counts(y: np.ndarray, source: Source, settings: DataSettings, seed: int) -> np.ndarray:
    """Returns the number of clean examples of each class, (num_classes,)."""
    counts = np.zeros(source.num_classes, np.int64)
    # Some data sets name classes that have no examples (EMNIST's letters).
    occurring = np.unique(y)
    num_clean = settings.num_clean
    if num_clean is None:
        counts[occurring] = settings.clean_per_class or DEFAULT_CLEAN_PER_CLASS
        return counts
    counts[occurring] = num_clean // len(occurring)
    one_more = occurring[permutation(len(occurring), seed, Stream.CLEAN_CLASSES)]
    counts[one_more[: num_clean % len(occurring)]] += 1
    return counts


def _choose(
    pool: Examples, order: np.ndarray, where: str, source: Source, settings: DataSettings, seed: int
) -> np.ndarray:
    """Returns the first positions of the order (of each class in it), as the settings say."""
    if settings.num_clean is not None and not settings.balanced_clean:
        if settings.num_clean > len(order):
            raise UsageError(
                f"num_clean={settings.num_clean}, but {where} has only {len(order)} examples."
            )
        return order[: settings.num_clean]
    chosen = []
    for label, count in enumerate(_clean_counts(pool.y, source, settings, seed)):
        of_class = order[pool.y[order] == label]
        if count > len(of_class):
            raise UsageError(
                f"{count} clean examples of class {source.class_names[label]!r} are asked for, but "
                f"{where} has only {len(of_class)}; lower clean_per_class (or num_clean)."
            )
        chosen.append(of_class[:count])
    return np.concatenate(chosen)
