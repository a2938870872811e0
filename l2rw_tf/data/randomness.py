"""Random choices that depend on a seed only.

NumPy guarantees that the raw bits of PCG64 are the same on every machine and in every version, but
not the results of `Generator.permutation` and similar methods. So this module uses raw bits.
"""

from __future__ import annotations

import enum

import numpy as np

from l2rw_tf.errors import UsageError


class Stream(enum.IntEnum):
    """Independent streams of one seed; a number, once used, keeps its meaning."""

    TEST_SPLIT = 1
    CLEAN_SPLIT = 2
    TRAIN_LABELS = 3
    VALIDATION_LABELS = 4
    TRAIN_IMBALANCE = 5
    VALIDATION_IMBALANCE = 6
    BATCHES = 7
    AUGMENTATION = 8
    CLEAN_CLASSES = 9
    BALANCED_BATCHES = 10
    RANDOM_WEIGHTS = 11
    CLEAN_LABELS = 12


def _bits(seed: int, stream: Stream) -> np.random.PCG64:
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}.")
    return np.random.PCG64(np.random.SeedSequence([seed, int(stream)]))


def permutation(n: int, seed: int, stream: Stream) -> np.ndarray:
    """Returns a random order of 0 ... n-1.

    Args:
        n: How many numbers.
        seed: At least 0.
        stream: What the order is for.

    Returns:
        (n,) int64.

    Raises:
        UsageError: If the seed is negative.
    """
    return np.argsort(_bits(seed, stream).random_raw(n), kind="stable")


def permutation_and_integers(
    n: int, below: int, seed: int, stream: Stream
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random order of 0 ... n-1 and n random integers, both from one stream.

    Args:
        n: How many.
        below: The integers lie in 0 ... below-1, each equally likely (to within below / 2**64).
        seed: At least 0.
        stream: What they are for.

    Returns:
        Two arrays (n,) int64.
    """
    raw = _bits(seed, stream).random_raw(2 * n)
    integers = (raw[n:] % np.uint64(below)).astype(np.int64)
    return np.argsort(raw[:n], kind="stable"), integers


def tensorflow_seed(seed: int, stream: Stream) -> tuple[int, int]:
    """Returns the two numbers that TensorFlow's stateless operations take as a seed.

    Args:
        seed: At least 0.
        stream: What they are for.

    Returns:
        Two numbers from 0 to 2**31 - 1.
    """
    raw = _bits(seed, stream).random_raw(2)
    return int(raw[0] >> np.uint64(33)), int(raw[1] >> np.uint64(33))
