"""Networks as people write them, each with data, a Keras loss and its losses worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

N, M = 6, 4


@dataclasses.dataclass
class Case:
    """One network with what it is trained on."""

    network: keras.Model
    loss: Any
    batch: tuple[Any, ...]
    clean_batch: tuple[Any, ...]
    by_hand: Callable[[Any, Any], tf.Tensor]
    loss_weights: Any = None

    def take_clean_from_training(self) -> None:
        """Makes the clean batch the first part of the training batch.

        The mean u of these examples is ‖v‖² then, so that some weights are positive whatever the
        parameters are.
        """
        self.clean_batch = keras.tree.map_structure(lambda part: part[:M], self.batch)


def softmax_by_hand(y: Any, logits: Any) -> tf.Tensor:
    """Cross-entropy from the definition."""
    logits = tf.convert_to_tensor(logits)
    log_p = logits - tf.reduce_logsumexp(logits, -1, keepdims=True)
    return -tf.reduce_sum(
        tf.one_hot(tf.cast(y, tf.int32), logits.shape[-1], dtype=logits.dtype) * log_p, -1
    )


def _data(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(keras.config.floatx())


def _images(classes: int, size: int = 8, channels: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return tuple((_data(rng, n, size, size, channels), rng.integers(0, classes, n)) for n in (N, M))


def _sparse() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp() -> Case:
    """A multilayer perceptron for a table."""
    rng = np.random.default_rng(0)
    network = keras.Sequential([keras.Input((5,)), layers.Dense(16, "tanh"), layers.Dense(3)])
    batches = [(_data(rng, n, 5), rng.integers(0, 3, n)) for n in (N, M)]
    return Case(network, _sparse(), *batches, softmax_by_hand)


def convolutional() -> Case:
    """Batch normalization, dropout and weight decay."""
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.BatchNormalization(),
            layers.Activation("swish"),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01)),
        ]
    )
    return Case(network, _sparse(), *_images(3), softmax_by_hand)


def lstm() -> Case:
    """An LSTM over embedded tokens, padding masked."""
    rng = np.random.default_rng(2)
    network = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(11, 5, mask_zero=True),
            layers.LSTM(6),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    batches = [(rng.integers(0, 11, (n, 7)), rng.integers(0, 2, (n, 1))) for n in (N, M)]

    def by_hand(y: Any, p: Any) -> tf.Tensor:
        y, p = tf.cast(y, p.dtype), tf.clip_by_value(p, 1e-7, 1 - 1e-7)
        return -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p), -1)

    return Case(network, "binary_crossentropy", *batches, by_hand)


def transformer() -> Case:
    """A small Transformer block."""
    rng = np.random.default_rng(3)
    inputs = keras.Input((5, 8))
    attended = layers.MultiHeadAttention(2, 4, dropout=0.2)(inputs, inputs)
    hidden = layers.LayerNormalization()(inputs + attended)
    hidden = layers.LayerNormalization()(hidden + layers.Dense(8, "gelu")(hidden))
    network = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(hidden)))
    batches = [(_data(rng, n, 5, 8), rng.integers(0, 4, n)) for n in (N, M)]
    return Case(network, _sparse(), *batches, softmax_by_hand)


def two_outputs() -> Case:
    """Two inputs and two outputs with loss weights."""
    rng = np.random.default_rng(4)
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    hidden = layers.Dense(8, "tanh")(layers.Concatenate()([a, b]))
    kind = layers.Dense(3, name="kind")(hidden)
    size = layers.Dense(2, name="size")(hidden)
    network = keras.Model({"a": a, "b": b}, {"kind": kind, "size": size})
    batches = [
        (
            {"a": _data(rng, n, 4), "b": _data(rng, n, 3)},
            {"kind": rng.integers(0, 3, n), "size": _data(rng, n, 2)},
        )
        for n in (N, M)
    ]

    def by_hand(y: Any, p: Any) -> tf.Tensor:
        squared = tf.reduce_mean(tf.square(tf.cast(y["size"], p["size"].dtype) - p["size"]), -1)
        return 0.3 * softmax_by_hand(y["kind"], p["kind"]) + 2.0 * squared

    loss = {"kind": _sparse(), "size": "mse"}
    return Case(network, loss, *batches, by_hand, {"kind": 0.3, "size": 2.0})


def sequence_labeller() -> Case:
    """A loss per time step, with as many steps as examples."""
    rng = np.random.default_rng(5)
    network = keras.Sequential(
        [keras.Input((N, 4)), layers.SimpleRNN(6, return_sequences=True), layers.Dense(3)]
    )
    batches = [(_data(rng, n, N, 4), rng.integers(0, 3, (n, N))) for n in (N, M)]
    return Case(network, _sparse(), *batches, lambda y, p: tf.reduce_mean(softmax_by_hand(y, p), 1))


def transfer() -> Case:
    """A network of keras.applications with frozen layers under a new head."""
    base = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None, pooling="avg", dropout=0.0
    )
    batches = _images(3, 32, 3)
    # As a pretrained network has them, moving averages that fit the data.
    for layer in base.layers:
        layer.momentum = 0.0
    base(batches[0][0], training=True)
    for layer in base.layers[:-6]:
        layer.trainable = False
    network = keras.Sequential([base, layers.Dense(3)])
    return Case(network, _sparse(), *batches, softmax_by_hand)


def regression() -> Case:
    """Mean squared error."""
    rng = np.random.default_rng(6)
    network = keras.Sequential([keras.Input((5,)), layers.Dense(8, "softplus"), layers.Dense(2)])
    batches = [(_data(rng, n, 5), _data(rng, n, 2)) for n in (N, M)]
    return Case(network, "mse", *batches, lambda y, p: tf.reduce_mean(tf.square(y - p), -1))


class Subclassed(keras.Model):
    """A network whose call takes no `training`."""

    def __init__(self) -> None:
        """Makes the layers, which build themselves at the first call."""
        super().__init__()
        self.hidden = layers.Dense(8, "tanh")
        self.out = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        """Two layers."""
        return self.out(self.hidden(inputs))


def own_loss() -> Case:
    """A subclassed network and a loss function of the user's own."""
    rng = np.random.default_rng(7)
    batches = [(_data(rng, n, 5), _data(rng, n, 2)) for n in (N, M)]

    def log_cosh_and_more(y: Any, p: Any) -> tf.Tensor:
        return tf.reduce_sum(tf.math.log(tf.cosh(y - p)) + 0.1 * tf.square(p), -1)

    network = Subclassed()
    network(batches[0][0])
    return Case(network, log_cosh_and_more, *batches, log_cosh_and_more)


CASES = (
    mlp,
    convolutional,
    lstm,
    transformer,
    two_outputs,
    sequence_labeller,
    transfer,
    regression,
    own_loss,
)
