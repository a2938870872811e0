"""The meta-gradient of the paper to the letter, equations 4 to 7; nothing here is the product's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

# The clean pass draws a dropout mask of its own: that of the network's seeds, moved by this much.
CLEAN_SEED = 1_000_003


def look_ahead(
    network: keras.Model,
    losses: Callable[[Any, Any], tf.Tensor],
    batch: tuple[Any, Any],
    clean_batch: tuple[Any, Any],
    variables: Iterable[keras.Variable] | None = None,
) -> tf.Tensor:
    """Returns u, the step size α being 1.

    Args:
        network: A built network, whose state stays as it is.
        losses: A function of labels and outputs that returns one loss per example.
        batch: `(x, y)` of first dimension N.
        clean_batch: `(x, y)` of first dimension M.
        variables: θ; all trainable variables if None.

    Returns:
        u, shape (N,).
    """
    (x, y), (x_clean, y_clean) = batch, clean_batch
    theta = network.trainable_variables if variables is None else list(variables)
    epsilon = tf.zeros(tf.shape(keras.tree.flatten(y)[0])[:1], keras.config.floatx())
    with tf.GradientTape() as outer:
        outer.watch(epsilon)
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(epsilon * losses(y, _outputs(network, x, [])))  # equation 4
        gradient = inner.gradient(loss, [variable.value for variable in theta])
        theta_hat = [  # equation 5
            (variable, variable.value - tf.convert_to_tensor(part))
            for variable, part in zip(theta, gradient, strict=True)
            if part is not None
        ]
        seeds = [
            (variable, variable.value + [CLEAN_SEED, 0])
            for variable in network.non_trainable_variables
            if variable.path.endswith("seed_generator_state")
        ]
        outputs = _outputs(network, x_clean, theta_hat + seeds)
        clean_loss = tf.reduce_mean(losses(y_clean, outputs))  # equation 6
    return -outer.gradient(clean_loss, epsilon)  # equation 7


def _outputs(network: keras.Model, x: Any, values: list[tuple[keras.Variable, tf.Tensor]]) -> Any:
    """A pass as in training, in which some variables have other values, and that changes none."""
    takes_training = "training" in inspect.signature(network.call).parameters
    with keras.StatelessScope(state_mapping=values):
        return network(x, training=True) if takes_training else network(x)
