"""The preprocessing that a network does in front of its `fit`, as KerasHub's tasks do."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.reweighting.feeding import checks
from l2rw_tf.reweighting.feeding.batches import EXAMPLES, IDS

Data = tuple[Any, Any, Any]


def preprocess(network: keras.Model, x: Any, y: Any = None, sample_weight: Any = None) -> Data:
    """Returns data as the layers of a network take it.

    A KerasHub task has `preprocess_samples`, which it applies to whatever its `fit`, `evaluate` and
    `predict` are given. Arrays are preprocessed once and as a whole here, so that they stay arrays,
    shuffled and tracked as any others; data sets batch by batch.

    Args:
        network: With or without such a method.
        x: Inputs, or a data set.
        y: Labels, or None.
        sample_weight: Weights, or None.

    Returns:
        `(x, y, sample_weight)`.
    """
    samples = getattr(network, "preprocess_samples", None)
    if samples is None or x is None:
        return x, y, sample_weight
    if isinstance(x, tf.data.Dataset):
        return x.map(lambda *element: _of_element(samples, *element)), y, sample_weight
    if not checks.is_arrays(x):
        return x, y, sample_weight
    return keras.utils.unpack_x_y_sample_weight(samples(x, y, sample_weight))


def preprocess_source(network: keras.Model, data: Any) -> Any:
    """Returns clean or validation data, in one of its forms, as the layers of a network take it."""
    arrays = checks.clean_arrays(data)
    if arrays is None:
        return preprocess(network, data)[0]
    x, y, sample_weight = preprocess(network, *arrays)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def _of_element(samples: Any, first: Any, *others: Any) -> Any:
    if isinstance(first, dict) and set(first) == {EXAMPLES, IDS}:
        return {**first, EXAMPLES: samples(*first[EXAMPLES])}
    return samples(first, *others)
