"""Applies a network's own preprocessing, and drops inputs that the network does not have."""

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
    """Returns data in the form that the layers of a network take.

    A KerasHub task applies its `preprocess_samples` to the data of `fit`, `evaluate` and `predict`.
    A functional network selects its inputs from a dict, which may hold further entries such as
    identifiers or text. Arrays are preprocessed once, as a whole, so that they remain arrays that
    can be shuffled and tracked; data sets are preprocessed batch by batch.

    Args:
        network: Any `keras.Model`.
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
    """Returns clean or validation data of any kind in the form that a network's layers take."""
    arrays = checks.clean_arrays(data)
    if arrays is None:
        return preprocess(network, data)[0]
    x, y, sample_weight = preprocess(network, *arrays)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def _used_inputs(network: keras.Model) -> Callable[..., tuple[Any, ...]] | None:
    """Returns a function that drops inputs a functional network does not have; else None."""
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
