"""Proportion: classes weighted by their inverse frequency, so that all count equally.

PROPORTION of Ren et al. 2018, section 4.1; frequencies are those of the given labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.method import Method, SampleWeights


def class_weights(counts: Sequence[float], wanted: Sequence[float] | None = None) -> np.ndarray:
    """Returns the weight of each class that gives it the wanted total weight.

    The weight of class c is wanted_c / counts_c, or 0 for a class without examples. By default all
    classes with examples count equally: n / (C counts_c), the inverse frequency.

    Args:
        counts: Number of examples of each class, (classes,).
        wanted: Wanted total weight of each class, (classes,), with the same sum.

    Returns:
        (classes,) float32; their mean over the examples is 1.
    """
    counts = np.asarray(counts, np.float64)
    if wanted is None:
        wanted = counts.sum() / np.count_nonzero(counts)
    weights = np.divide(wanted, counts, out=np.zeros_like(counts), where=counts > 0)
    return weights.astype(np.float32)


def by_class(weights: np.ndarray) -> SampleWeights:
    """Returns a function that gives each example the weight of its class."""
    return lambda step, y: tf.gather(weights, y)


def _sample_weights(seed: int, data: PreparedData) -> SampleWeights:
    return by_class(class_weights(data.training_class_counts))


proportion = Method(sample_weights=_sample_weights)
