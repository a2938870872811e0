"""Forward passes in training mode: those that update state, and those that leave it unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting.keras_internals import flatten_layers, global_seed_generator
from l2rw_tf.reweighting.state import TrainingState

# Added to the first half of a random seed to get a second, reproducible random stream.
_OTHER_STREAM = 1_000_003


def call_for_training(network: keras.Model, x: Any) -> Any:
    """Calls a network as `Model.fit` does: with `training=True` if its `call` takes it.

    Updates moving averages and random seeds, unless a `keras.StatelessScope` is open.
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
    """Calls a network in training mode without changing any variable.

    Args:
        network: A built network.
        x: Its inputs.
        values: Pairs of a variable and its value in this call.
        is_clean: Whether this is a clean batch. If so, layers such as dropout use a second random
            stream, and stateful recurrent layers start from zero, as clean sequences do not
            continue training sequences. If not, they use the state of the next training call.

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
    """Splits the user's sample weights s into weights S per example and r within examples.

    Weights of shape (N,) or (N, 1) are all S. Weights of time steps or pixels, or one array per
    output, are split into factors: S_i is the mean of s over all axes but the examples, and
    r = s / S has mean 1 in each example. S scales the example weight and r is part of the loss, so
    that s enters once.

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
    # An output without weights has weights of 1.
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
    """Returns the states of all random generators that a call of the network can use.

    Args:
        network: A built network.

    Returns:
        The states of its layers by number, and "global", the state of operations without a seed.
    """
    of_layers = [
        variable
        for variable in network.non_trainable_variables
        if variable.path.split("/")[-1] == "seed_generator_state"
    ]
    seeds = {str(number): seed for number, seed in enumerate(of_layers)}
    # Under a strategy, every replica is traced in its own thread. Keras has one global generator
    # per thread, which cannot be created while tracing.
    if not tf.distribute.has_strategy():
        seeds["global"] = global_seed_generator().state
    return seeds


class RandomStates(TrainingState):
    """The random generator states of a network, which Keras does not save with a model.

    Without them, resumed training would repeat its first dropout masks.
    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        """Wraps a network."""
        super().__init__(**kwargs)
        # A function, so that Keras does not track the network as a sublayer.
        self._states = lambda: random_seeds(network)

    def save_own_variables(self, store: Any) -> None:
        """Saves the states."""
        for name, seed in self._states().items():
            store[name] = np.asarray(seed.value)

    def load_own_variables(self, store: Any) -> None:
        """Loads the states if `fit` is being resumed."""
        states = self._states()
        if self.is_resumed and set(store.keys()) == states.keys():
            for name, seed in states.items():
                seed.assign(store[name])


def _other_stream(seed: keras.Variable) -> tf.Tensor:
    value = tf.convert_to_tensor(seed.value)
    return value + tf.constant([_OTHER_STREAM, 0], value.dtype)
