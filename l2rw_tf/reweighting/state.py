"""Training state other than weights, which Keras tracks, saves and resumes with the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError

# Name, in a saved file, of the hash that identifies the examples of a table.
_DATA = "data"


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


class RowState(TrainingState):
    """State with one row per training example, in tables of floats.

    The last row of a table belongs to no example: unknown rows are written there, and it is never
    read.

    Attributes:
        num_examples: The number of rows; None until `open`.
    """

    # Number of columns of each table.
    tables: dict[str, int] = {}

    def __init__(self, **kwargs: Any) -> None:
        """Creates state without rows."""
        super().__init__(**kwargs)
        self.num_examples: int | None = None
        self._data = ""

    def open_for(self, num_examples: int, data: str) -> bool:
        """Creates empty tables, unless there are tables of the same examples.

        Args:
            num_examples: Number of training examples.
            data: A hash that identifies them; empty if unknown.

        Returns:
            Whether the tables are new.
        """
        is_other_data = bool(data and self._data) and data != self._data
        is_new = self.num_examples != num_examples or is_other_data
        if is_new:
            self.open(num_examples)
        self._data = data
        return is_new

    def open(self, num_examples: int) -> None:
        """Creates empty tables in place of any earlier ones.

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
        """Returns indices into the tables, (n,) int64; unknown rows become the last index."""
        rows = tf.cast(tf.reshape(rows, [-1]), tf.int64)
        known = (rows >= 0) & (rows < self.num_examples)
        return tf.where(known, rows, self.num_examples)

    def save_own_variables(self, store: Any) -> None:
        """Saves the tables, and the hash of their examples."""
        if self.tables and self.num_examples is not None:
            store[_DATA] = np.frombuffer(self._data.encode(), np.uint8)
            for name in self.tables:
                store[name] = getattr(self, name).numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads the saved tables; resets the tables to 0 if the file has none.

        Raises:
            UsageError: If the saved tables have another number of training examples.
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
