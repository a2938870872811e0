"""Training, clean, validation and test examples of one source."""

from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.randomness import Stream, permutation
from l2rw_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Splits:
    """The parts of one source; labels are those of the source, nothing is corrupted yet.

    Attributes:
        train: What the network is trained on.
        clean: The few examples whose labels are to be trusted.
        validation: Held-out examples that choose an epoch or a learning rate; may be empty.
        test: What results are reported on.
    """

    train: Examples
    clean: Examples
    validation: Examples
    test: Examples


def split(
    source: Source,
    *,
    clean_per_class: int | None = None,
    num_clean: int | None = None,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.2,
    seed: int,
    clean_in_train: bool = False,
    balanced_clean: bool = True,
) -> Splits:
    """Splits a source by the seed alone.

    One random order decides: the clean examples are the first of it (of each class, where they are
    balanced), the validation examples the last. So a larger clean set contains the smaller one, and
    runs that differ in the number of clean examples share (nearly) the same validation examples.
    Trusted examples, if there are any, are the clean ones instead. Where the true labels are known,
    clean and test examples have these.

    Args:
        source: The data set.
        clean_per_class: Clean examples of each class that occurs; either this or `num_clean` is
            given, or neither if the source has trusted examples: it is all of them then.
        num_clean: Clean examples in all. Where it is no multiple of the number of classes, a random
            choice of classes has one more than the others.
        validation_fraction: Fraction of the source's training part that is held out.
        test_fraction: Fraction taken for testing if the source has no test part; else not used.
        seed: At least 0.
        clean_in_train: Leaves the clean examples in the training part as well.
        balanced_clean: Takes as many clean examples of each class; otherwise they come as they
            fall.

    Returns:
        The four parts.

    Raises:
        UsageError: More is asked for than there is.
    """
    data, test = source.train, source.test
    if test is None:
        data, test = _split_test(data, test_fraction, seed)
    order = permutation(len(data), seed, Stream.CLEAN_SPLIT)
    wanted = (clean_per_class, num_clean, balanced_clean, seed)
    if source.trusted is None:
        pool, where = data.with_true_labels(), f"the training part of {source.name}"
        clean = chosen = _choose(pool, order, where, source, *wanted)
    elif clean_in_train:
        raise UsageError("clean_in_train cannot be used with trusted examples beside the data.")
    else:
        pool, clean = source.trusted, order[:0]
        chosen = permutation(len(pool), seed, Stream.CLEAN_SPLIT)
        if clean_per_class is not None or num_clean is not None:
            chosen = _choose(pool, chosen, "the trusted data", source, *wanted)
    rest = order[~np.isin(order, clean)]
    num_validation = round(validation_fraction * len(data))
    if num_validation >= len(rest):
        raise UsageError(
            f"no training examples are left: of {len(data)}, {len(clean)} are clean and "
            f"validation_fraction={validation_fraction} holds out {num_validation}; lower one of "
            "them."
        )
    train, validation = np.split(rest, [len(rest) - num_validation])
    if clean_in_train:
        train = np.concatenate([train, clean])
    return Splits(
        train=data.take(np.sort(train)),
        clean=pool.take(np.sort(chosen)).in_memory(),
        validation=data.take(np.sort(validation)),
        test=test.with_true_labels(),
    )


def _split_test(data: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Takes a random share for testing; returns what is left and that share."""
    num_test = round(fraction * len(data))
    if not 0 < num_test < len(data):
        raise UsageError(
            f"the data has no test part of its own, and test_fraction={fraction} takes {num_test} "
            f"of its {len(data)} examples for testing; at least 1 must be taken and 1 left."
        )
    order = permutation(len(data), seed, Stream.TEST_SPLIT)
    return data.take(np.sort(order[num_test:])), data.take(np.sort(order[:num_test]))


def _clean_counts(
    y: np.ndarray, source: Source, clean_per_class: int | None, num_clean: int | None, seed: int
) -> np.ndarray:
    """Returns how many clean examples each class is to have, (num_classes,)."""
    counts = np.zeros(source.num_classes, np.int64)
    # Some data sets name classes that have no examples (EMNIST's letters).
    occurring = np.unique(y)
    if clean_per_class is not None:
        counts[occurring] = clean_per_class
        return counts
    counts[occurring] = num_clean // len(occurring)
    one_more = occurring[permutation(len(occurring), seed, Stream.CLEAN_CLASSES)]
    counts[one_more[: num_clean % len(occurring)]] += 1
    return counts


def _choose(
    pool: Examples,
    order: np.ndarray,
    where: str,
    source: Source,
    clean_per_class: int | None,
    num_clean: int | None,
    balanced: bool,
    seed: int,
) -> np.ndarray:
    """Returns the first positions of the order (of each class in it), as many as asked for."""
    if num_clean is not None and not balanced:
        if num_clean > len(order):
            raise UsageError(f"num_clean={num_clean}, but {where} has only {len(order)} examples.")
        return order[:num_clean]
    counts = _clean_counts(pool.y, source, clean_per_class, num_clean, seed)
    chosen = []
    for label, count in enumerate(counts):
        of_class = order[pool.y[order] == label]
        if count > len(of_class):
            raise UsageError(
                f"{count} clean examples of class {source.class_names[label]!r} are asked for, but "
                f"{where} has only {len(of_class)}; lower clean_per_class (or num_clean)."
            )
        chosen.append(of_class[:count])
    return np.concatenate(chosen)
