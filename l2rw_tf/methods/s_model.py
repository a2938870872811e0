"""The noise adaptation layer: learns, with the network, how true labels become given labels.

Goldberger and Ben-Reuven, "Training deep neural-networks using a noise adaptation layer", ICLR
2017: their simple model (S-model), in which the given label depends only on the true one. It needs
no clean data. `s_model_conf` trains the network plainly for half of the epochs and starts the layer
from its confusion matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.data import pipeline
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.method import Method
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.keras_internals import DistributedFunctional

# Keeps the logarithm of the confusion matrix finite if two classes are never confused.
_SMALLEST_SHARE = 1e-4


class NoiseAdaptation(keras.layers.Layer):
    """Turns logits of true labels into logits of given labels, in training only.

    With p = softmax(logits) and the transition matrix T = softmax of each row of the trainable
    parameters b, p(given = j | x) = Σ_i p(true = i | x) T_ij. The output is its logarithm, which is
    a valid logit, as the softmax of the logarithm is the probability. Outside training the layer
    returns its input, so that evaluation uses the network only.

    Attributes:
        transition_logits: b, (classes, classes) float32.
    """

    def __init__(self, start: np.ndarray, **kwargs: Any) -> None:
        """Sets up the layer.

        Args:
            start: The transition matrix T at the start, (classes, classes): rows of positive
                numbers with sum 1.
            **kwargs: Arguments of `keras.layers.Layer`.
        """
        # The probabilities of given labels can be too small for half precision.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.transition_logits = self.add_weight(
            name="transition_logits",
            shape=np.shape(start),
            initializer=lambda shape, dtype=None: tf.constant(np.log(start), dtype),
        )

    def call(self, logits: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns logits of given labels in training, and those of true ones otherwise.

        Args:
            logits: (batch, classes).
            training: Whether this is a training step.
        """
        if not training:
            return logits
        log_true = tf.nn.log_softmax(logits)
        log_transition = tf.nn.log_softmax(self.transition_logits)
        return tf.reduce_logsumexp(log_true[:, :, None] + log_transition[None], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the output, which is that of the input."""
        return input_shape


def adapted(network: keras.Model, start: np.ndarray) -> keras.Model:
    """Returns the network with a noise adaptation layer on top; both share the network's variables.

    Args:
        network: A functional model that gives logits.
        start: The transition matrix at the start.
    """
    return DistributedFunctional(network.input, NoiseAdaptation(start)(network.output))


def uniform_start(num_classes: int, noise: float = 0.1) -> np.ndarray:
    """Returns the transition matrix of labels with a fraction of uniform noise.

    The start of Goldberger and Ben-Reuven if nothing is known: T_ij = 1 − ε on the diagonal and
    ε / (C − 1) elsewhere; ε = 0.1 here.

    Args:
        num_classes: C.
        noise: ε, above 0 and below 1.

    Returns:
        (C, C), rows with sum 1.
    """
    return np.where(np.eye(num_classes, dtype=bool), 1 - noise, noise / (num_classes - 1))


def confusion_start(
    network: keras.Model, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]
) -> np.ndarray:
    """Returns the confusion matrix of a network's predictions and the given labels.

    The start of Goldberger and Ben-Reuven from a network that was trained without the layer:
    T_ij = Σ_t p(true = i | x_t) 1[given_t = j] / Σ_t p(true = i | x_t). Here 1e-4 is added to each
    entry before rows are normalized, so that b = log T is finite.

    Args:
        network: A network that returns logits.
        batches: All training examples once: x (batch, ...) and y (batch,).

    Returns:
        (classes, classes), rows with sum 1.
    """
    joint = 0.0
    for x, y in batches:
        predicted = keras.ops.softmax(network(x, training=False))
        predicted = np.asarray(predicted, np.float64)
        given = np.eye(predicted.shape[1])[np.asarray(y)]
        joint = joint + predicted.T @ given
    share = joint / joint.sum(axis=1, keepdims=True) + _SMALLEST_SHARE
    return share / share.sum(axis=1, keepdims=True)


def _from_confusion(
    network: keras.Model, settings: MethodSettings, data: PreparedData
) -> keras.Model:
    batches = pipeline.evaluation_batches(data.splits.train, data.preprocessing)
    return adapted(network, confusion_start(network, batches))


s_model = Method(
    model=lambda network, settings, data: adapted(network, uniform_start(data.source.num_classes))
)
s_model_conf = Method(model=_from_confusion, first="plain")
