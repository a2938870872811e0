"""Predictions of a network for examples."""

from __future__ import annotations

import keras
import numpy as np

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.preprocessing import Preprocessing


def class_probabilities(
    network: keras.Model, examples: Examples, preprocessing: Preprocessing
) -> np.ndarray:
    """Returns the class probabilities of a network with logits, (n, classes) float32."""
    logits = class_logits(network, examples, preprocessing).astype("float32")
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def class_logits(
    network: keras.Model, examples: Examples, preprocessing: Preprocessing
) -> np.ndarray:
    """Returns the outputs of a network for all examples, in their order, (n, classes)."""
    batches = pipeline.evaluation_batches(examples, preprocessing)
    return network.predict(batches.map(lambda x, y: x), verbose=0)
