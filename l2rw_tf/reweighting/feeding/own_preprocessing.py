"""What a network does with its data in front of its layers: left out, or preprocessed by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.reweighting.feeding import checks
from l2rw_tf.reweighting.feeding.batches import EXAMPLES, IDS
from l2rw_tf.reweighting.keras_internals import is_functional

Data = tuple[Any, Any, Any]


def preprocess(network: keras.Model, x: Any, y: Any = None, sample_weight: Any = None) -> Data:
    """Returns data as the layers of a network take it.

    A KerasHub task has `preprocess_samples`, which it applies to whatever its `fit`, `evaluate` and
    `predict` are given. A functional network takes the inputs that it has out of a dict, which may
    hold more, as identifiers or text. Arrays are treated once and as a whole here, so that they
    stay arrays, shuffled and tracked as any others; data sets batch by batch.

    Args:
        network: Any network.
        x: Inputs, or a data set.
        y: Labels, or None.
        sample_weight: Weights, or None.

    Returns:
        `(x, y, sample_weight)`.
    """
    samples = getattr(network, "preprocess_samples", None) or _used_inputs(network)
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


def _used_inputs(network: keras.Model) -> Callable[..., tuple[Any, ...]] | None:
    """Returns what leaves out the inputs that a functional network does not have."""
    if not is_functional(network):
        return None
    names = [one.name for one in keras.tree.flatten(network.inputs)]

    def used(x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, ...]:
        if isinstance(x, dict) and set(names) < set(x):
            x = x.copy()
            for name in x.keys() - set(names):
                del x[name]
        return (x, y) if sample_weight is None else (x, y, sample_weight)

    return used


def _of_element(samples: Any, first: Any, *others: Any) -> Any:
    if isinstance(first, dict) and set(first) == {EXAMPLES, IDS}:
        return {**first, EXAMPLES: samples(*first[EXAMPLES])}
    return samples(first, *others)
