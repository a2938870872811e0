"""Forward passes as in training: those that may change state, and those that only look."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting.keras_internals import flatten_layers, global_seed_generator
from l2rw_tf.reweighting.state import TrainingState

# Added to the first half of a random seed: a stream of its own, and the same one every time.
_OTHER_STREAM = 1_000_003


def call_for_training(network: keras.Model, x: Any) -> Any:
    """Calls a network as `Model.fit` does: with `training=True` where its `call` takes it.

    Moving averages and random seeds move on, unless a `keras.StatelessScope` is open.
    """
    parameters = inspect.signature(network.call).parameters
    takes_training = "training" in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )
    return network(x, training=True) if takes_training else network(x)


def observed_call(
    network: keras.Model,
    x: Any,
    values: Iterable[tuple[keras.Variable, tf.Tensor]] = (),
    is_clean: bool = False,
) -> Any:
    """Calls a network as in training and leaves every variable as it is.

    Args:
        network: A built network.
        x: Its inputs.
        values: Pairs of a variable and the value that it is to have in this call.
        is_clean: Whether these are clean examples. Dropout and its kin then draw from a stream of
            their own, where they draw else what the next training call will draw; and stateful
            recurrent layers begin anew, as the clean sequences continue none of the training ones.

    Returns:
        The outputs of the network.
    """
    state = list(values)
    if is_clean:
        state += [(seed, _other_stream(seed)) for seed in random_seeds(network).values()]
        state += [(one, tf.zeros_like(one.value)) for _, one in recurrent_states(network)]
    with keras.StatelessScope(state_mapping=state):
        return call_for_training(network, x)


def split_sample_weight(sample_weight: Any) -> tuple[tf.Tensor | None, Any]:
    """Splits a user's weights into one per example and what is left within the examples.

    Weights s of shape (N,) or (N, 1) are all the first part. Weights of time steps or pixels, or
    one array per output, are split so that their product is kept: S_i is the mean over everything
    but the examples and r = s / S has mean 1 in each example. S scales the example's weight, r is
    part of its loss, and so s enters once.

    Args:
        sample_weight: None, a tensor of first dimension N, or a structure of them.

    Returns:
        S, shape (N,), or None; and r, structured as `sample_weight`, or None.
    """
    if sample_weight is None:
        return None, None
    leaves = keras.tree.flatten(sample_weight)
    if len(leaves) == 1 and leaves[0].shape.rank <= 2 and leaves[0].shape[1:] in ((), (1,)):
        return tf.cast(tf.reshape(leaves[0], [-1]), keras.config.floatx()), None
    given = [tf.cast(leaf, keras.config.floatx()) for leaf in leaves if leaf is not None]
    if not given:
        return None, None
    means = [tf.reduce_mean(leaf, list(range(1, leaf.shape.rank))) for leaf in given]
    # An output without weights counts with ones.
    means += [tf.ones_like(means[0])] * (len(leaves) - len(given))
    per_example = tf.add_n(means) / len(means)

    def within(leaf: tf.Tensor | None) -> tf.Tensor:
        if leaf is None:
            leaf = tf.ones_like(per_example)
        shape = [-1] + [1] * (leaf.shape.rank - 1)
        return tf.math.divide_no_nan(
            tf.cast(leaf, per_example.dtype), tf.reshape(per_example, shape)
        )

    return per_example, keras.tree.map_structure(within, sample_weight)


def recurrent_states(network: keras.Model) -> list[tuple[keras.Layer, keras.Variable]]:
    """Returns the states that recurrent layers carry from batch to batch, each with its layer."""
    return [
        (layer, one)
        for layer in flatten_layers(network)
        if getattr(layer, "stateful", False)
        for one in keras.tree.flatten(getattr(layer, "states", None))
        if isinstance(one, keras.Variable)
    ]


def random_seeds(network: keras.Model) -> dict[str, keras.Variable]:
    """Returns the states of all random numbers that a call of the network can draw.

    Args:
        network: A built network.

    Returns:
        Those of its layers by their number, and "global", which random operations that were given
        no seed draw from.
    """
    of_layers = [
        variable
        for variable in network.non_trainable_variables
        if variable.path.split("/")[-1] == "seed_generator_state"
    ]
    seeds = {str(number): seed for number, seed in enumerate(of_layers)}
    # Under a strategy Keras has a global one for each thread, and every replica is traced in a
    # thread of its own, where none could be made.
    if not tf.distribute.has_strategy():
        seeds["global"] = global_seed_generator().state
    return seeds


class RandomStates(TrainingState):
    """The states of a network's random numbers, which Keras leaves out when it saves a model.

    Without them a resumed training would draw its first dropout masks again.

    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        """Takes the network."""
        super().__init__(**kwargs)
        # In a function, so that the network does not become a part of this layer.
        self._states = lambda: random_seeds(network)

    def save_own_variables(self, store: Any) -> None:
        """Puts the states where Keras saves them."""
        for name, seed in self._states().items():
            store[name] = np.asarray(seed.value)

    def load_own_variables(self, store: Any) -> None:
        """Sets the states, if a resumed `fit` loads them."""
        states = self._states()
        if self.is_resumed and set(store.keys()) == states.keys():
            for name, seed in states.items():
                seed.assign(store[name])


def _other_stream(seed: keras.Variable) -> tf.Tensor:
    value = tf.convert_to_tensor(seed.value)
    return value + tf.constant([_OTHER_STREAM, 0], value.dtype)
