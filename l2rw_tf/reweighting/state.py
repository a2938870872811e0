"""Training state other than weights, which Keras tracks, saves and resumes with the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


class TrainingState(keras.Layer):
    """Variables that a training step updates and that are not weights of the network.

    They are among the `variables` of the model that holds this layer, so checkpoints and saved
    models include them. `weights` is empty, so `get_weights` and `set_weights`, with which
    callbacks restore the best epoch, do not change them.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Creates a layer without variables.

        Args:
            **kwargs: `name`, as of any `keras.Layer`.
        """
        kwargs.setdefault("trainable", False)
        super().__init__(**kwargs)
        self.built = True
        # Whether `fit` is running, so that loading means resuming.
        self.is_resumed = False
        self._strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None

    @property
    def weights(self) -> list[keras.Variable]:
        """An empty list: these variables are not parameters of the network."""
        return []

    @contextlib.contextmanager
    def resumed(self) -> Iterator[None]:
        """A scope for `fit`, in which callbacks may load the state to resume from."""
        self.is_resumed = True
        try:
            yield
        finally:
            self.is_resumed = False

    def _scope(self) -> contextlib.AbstractContextManager:
        """Returns the scope of the model's strategy."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()
