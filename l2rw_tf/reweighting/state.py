"""State of a training beside the weights, which Keras tracks, saves and resumes with the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError

# What a table's examples are known by, in a file.
_DATA = "data"


class TrainingState(keras.Layer):
    """Variables that a training step updates and that are no weights of the network.

    They are among the `variables` of the model that holds this layer, so that checkpoints and saved
    models have them. `weights` is empty: `get_weights` and `set_weights`, by which callbacks go
    back to the network of the best epoch, leave them as they are.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Begins without variables.

        Args:
            **kwargs: `name`, as of any `keras.Layer`.
        """
        kwargs.setdefault("trainable", False)
        super().__init__(**kwargs)
        self.built = True
        # Whether what is loaded now belongs to a `fit` under way.
        self.is_resumed = False
        self._strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None

    @property
    def weights(self) -> list[keras.Variable]:
        """None: what is here is no parameter."""
        return []

    @contextlib.contextmanager
    def resumed(self) -> Iterator[None]:
        """A scope of a `fit`, whose callbacks may load what it is to be resumed from."""
        self.is_resumed = True
        try:
            yield
        finally:
            self.is_resumed = False

    def _scope(self) -> contextlib.AbstractContextManager:
        """The scope of the strategy that the model was made in."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()


class RowState(TrainingState):
    """State with a row per training example, in tables of floats.

    A table has one row more, which takes what belongs to no example and is never read.

    Attributes:
        num_examples: The number of rows; None until `open`.
    """

    # Number of columns of each table.
    tables: dict[str, int] = {}

    def __init__(self, **kwargs: Any) -> None:
        """Begins without rows."""
        super().__init__(**kwargs)
        self.num_examples: int | None = None
        self._data = ""

    def open_for(self, num_examples: int, data: str) -> bool:
        """Begins empty tables, unless there are some of the same examples.

        Args:
            num_examples: Number of training examples.
            data: Stands for them; empty if that is not known.

        Returns:
            Whether they are new.
        """
        is_other_data = bool(data and self._data) and data != self._data
        is_new = self.num_examples != num_examples or is_other_data
        if is_new:
            self.open(num_examples)
        self._data = data
        return is_new

    def open(self, num_examples: int) -> None:
        """Begins empty tables; those that were there are gone.

        Args:
            num_examples: Number of training examples.
        """
        for name in self.tables:
            if hasattr(self, name):
                delattr(self, name)
        self.num_examples = num_examples
        with self._scope():
            for name, columns in self.tables.items():
                # Floats throughout: XLA on a GPU cannot write to variables of 32-bit integers.
                zeros = np.zeros((num_examples + 1, columns))
                setattr(
                    self, name, keras.Variable(zeros, dtype="float32", trainable=False, name=name)
                )

    def rows_in_table(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns rows as indices into the tables, (n,) int64: the last one if there is no such."""
        rows = tf.cast(tf.reshape(rows, [-1]), tf.int64)
        known = (rows >= 0) & (rows < self.num_examples)
        return tf.where(known, rows, self.num_examples)

    def save_own_variables(self, store: Any) -> None:
        """Puts the tables, and what their examples are known by, where Keras saves them."""
        if self.tables and self.num_examples is not None:
            store[_DATA] = np.frombuffer(self._data.encode(), np.uint8)
            for name in self.tables:
                store[name] = getattr(self, name).numpy()

    def load_own_variables(self, store: Any) -> None:
        """Takes the tables that were saved; begins anew if there are none in the file.

        Raises:
            UsageError: If they are those of another number of training examples.
        """
        if not set(self.tables) <= set(store.keys()):
            if self.num_examples is not None:
                self._data = ""
                for name in self.tables:
                    table = getattr(self, name)
                    table.assign(tf.zeros_like(table.value))
            return
        saved = {name: np.asarray(store[name]) for name in self.tables}
        for num_examples in {len(table) - 1 for table in saved.values()}:
            if self.num_examples is None:
                self.open(num_examples)
            if self.num_examples != num_examples:
                raise UsageError(
                    f"The file has a record of {num_examples} training examples, but there are "
                    f"{self.num_examples}: it was saved with other training data; "
                    "load_weights(..., skip_mismatch=True) leaves the record out."
                )
        for name, table in saved.items():
            getattr(self, name).assign(table)
        if _DATA in store.keys():
            self._data = bytes(np.asarray(store[_DATA])).decode()
