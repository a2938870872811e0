"""The record: weights, u and losses of every training example over a training, one row each."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.replicas import all_finite, gather_examples
from l2rw_tf.reweighting.state import TrainingState
from l2rw_tf.reweighting.weights import scale

_NONE = -(2**63)
# Columns of the two tables: sums over the visits to an example, and values of the last visit.
_SUMS = ("times_seen", "positive_visits", "weight_sum", "u_sum", "loss_sum")
_LAST = ("last_weight", "last_u", "smoothed_u", "kept_weight")
_TABLES = {"sums": len(_SUMS), "last": len(_LAST)}
# Name, in a saved file, of the hash that identifies the training examples.
_DATA = "data"
# c of the smoothed u: s ← c s + (1 − c) u at each visit, s = u at the first.
_SMOOTHING = 0.7


class Record(TrainingState):
    """One row per training example, in variables on the device, updated inside the training step.

    Every u here is scaled by its batch (`weights.scale`), so that values of different steps,
    learning rates and batch sizes can be compared. An example that is twice in a batch counts as
    seen twice; its last values are those of the later position.

    The last row of a table belongs to no example: unknown rows are written there, and it is never
    read.

    Attributes:
        num_examples: The number of examples; None until `open_for`.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Creates a record without rows."""
        super().__init__(**kwargs)
        self.num_examples: int | None = None
        self._data = ""
        self._strange_row = keras.Variable(
            _NONE, dtype="int64", trainable=False, name="strange_row"
        )

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
            self._open(num_examples)
        self._data = data
        return is_new

    def update(
        self,
        rows: tf.Tensor,
        u: tf.Tensor,
        weights: tf.Tensor,
        losses: tf.Tensor,
        own_weights: tf.Tensor,
    ) -> None:
        """Adds one batch; under a strategy every replica keeps the whole table.

        A batch with NaN or infinity in u, such as an overflow in half precision, is left out.

        Args:
            rows: Rows of the examples, integers, shape (n,).
            u: Signed meta-gradient, shape (n,).
            weights: Example weights, shape (n,).
            losses: Unweighted losses ℓ_i, shape (n,).
            own_weights: The example weights without the user's sample weights, shape (n,).
        """
        is_finite = all_finite(u)
        columns = [
            tf.cast(values, tf.float32) for values in (scale(u), weights, losses, own_weights)
        ]
        rows, u, weights, losses, own_weights = gather_examples([tf.reshape(rows, [-1]), *columns])
        self._note_strange(rows)
        smoothed = self._smoothed(rows, u)
        no_example = tf.cast(self.num_examples, tf.int64)
        row = self._rows_in_table(rows)
        row = tf.where(is_finite, row, no_example)
        # Relative to the mean over the batch, so that batches of different sizes can be mixed.
        kept = own_weights * tf.cast(tf.size(own_weights), tf.float32)
        visit = [tf.ones_like(u), tf.cast(weights > 0, tf.float32), weights, u, losses]
        # The handle of a distributed variable is that of this replica's copy.
        tf.raw_ops.ResourceScatterNdAdd(
            ref=self.sums.value.handle, indices=row[:, None], updates=tf.stack(visit, axis=1)
        )
        last_visit = tf.stack([weights, u, smoothed, kept], axis=1)
        order, met_again = _by_row(row)
        # The last visit to an example counts; the others go to the row of no example.
        tf.raw_ops.ResourceScatterNdUpdate(
            ref=self.last.value.handle,
            indices=tf.where(met_again, no_example, tf.gather(row, order))[:, None],
            updates=tf.gather(last_visit, order),
        )

    def kept_weights(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the weight of each example at its last visit; float32, shape (n,).

        The weights are without the user's sample weights, and relative to the mean weight of the
        batch of that visit; 1 for an example that was never seen.

        Args:
            rows: Rows of the examples, integers, shape (n,).
        """
        last = tf.gather(self.last.value, self._rows_in_table(rows))[:, _LAST.index("kept_weight")]
        return tf.where(self._times_seen(rows) > 0, last, 1)

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the record by column, each of shape (num_examples,).

        Returns:
            `id`, `times_seen`, `mean_weight`, `mean_u`, `mean_loss`, `positive_share`,
            `last_weight`, `last_u` and `smoothed_u`. All but the first two are NaN for an example
            that was never seen.

        Raises:
            UsageError: If no training was tracked.
        """
        if self.num_examples is None:
            raise UsageError(
                "No examples were tracked: train with fit(..., track_examples=True) first."
            )
        sums = dict(zip(_SUMS, self.sums.numpy()[:-1].T, strict=True))
        last = dict(zip(_LAST, self.last.numpy()[:-1].T, strict=True))
        del last["kept_weight"]
        visits = np.where(sums["times_seen"] > 0, sums["times_seen"], np.nan)
        return {
            "id": np.arange(self.num_examples),
            "times_seen": sums["times_seen"].astype(np.int64),
            "mean_weight": sums["weight_sum"] / visits,
            "mean_u": sums["u_sum"] / visits,
            "mean_loss": sums["loss_sum"] / visits,
            "positive_share": sums["positive_visits"] / visits,
            **{name: np.where(np.isnan(visits), np.nan, column) for name, column in last.items()},
        }

    def check_rows(self) -> None:
        """Raises an error if a step met rows outside the tables.

        Raises:
            UsageError: If there are any; names the largest.
        """
        strange = int(self._strange_row.numpy())
        if strange != _NONE:
            rows = self.num_examples or 0
            self._strange_row.assign(_NONE)
            raise UsageError(
                f"The training data holds the id {strange}, but the record has "
                f"{rows} rows: ids must lie between 0 and {rows - 1}; "
                "give track_examples=NUMBER_OF_TRAINING_EXAMPLES."
            )

    def save_own_variables(self, store: Any) -> None:
        """Saves the tables, and the hash of their examples."""
        if self.num_examples is not None:
            store[_DATA] = np.frombuffer(self._data.encode(), np.uint8)
            for name in _TABLES:
                store[name] = getattr(self, name).numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads the saved tables; resets the tables to 0 if the file has none.

        Raises:
            UsageError: If the saved tables have another number of training examples.
        """
        if not set(_TABLES) <= set(store.keys()):
            if self.num_examples is not None:
                self._data = ""
                for name in _TABLES:
                    table = getattr(self, name)
                    table.assign(tf.zeros_like(table.value))
            return
        saved = {name: np.asarray(store[name]) for name in _TABLES}
        for num_examples in {len(table) - 1 for table in saved.values()}:
            if self.num_examples is None:
                self._open(num_examples)
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

    def _open(self, num_examples: int) -> None:
        """Creates empty tables in place of any earlier ones."""
        for name in _TABLES:
            if hasattr(self, name):
                delattr(self, name)
        self.num_examples = num_examples
        with self._scope():
            for name, columns in _TABLES.items():
                # Floats throughout: XLA on a GPU cannot write to variables of 32-bit integers.
                zeros = np.zeros((num_examples + 1, columns))
                setattr(
                    self, name, keras.Variable(zeros, dtype="float32", trainable=False, name=name)
                )

    def _rows_in_table(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns indices into the tables, (n,) int64; unknown rows become the last index."""
        rows = tf.cast(tf.reshape(rows, [-1]), tf.int64)
        known = (rows >= 0) & (rows < self.num_examples)
        return tf.where(known, rows, self.num_examples)

    def _times_seen(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns how often each example was seen before; float32, shape (n,)."""
        sums = tf.gather(self.sums.value, self._rows_in_table(rows))
        return sums[:, _SUMS.index("times_seen")]

    def _smoothed(self, rows: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
        """Returns the smoothed u of the examples of a batch, this visit included."""
        last = tf.gather(self.last.value, self._rows_in_table(rows))
        before = last[:, _LAST.index("smoothed_u")]
        smoothed = _SMOOTHING * before + (1 - _SMOOTHING) * u
        return tf.where(self._times_seen(rows) == 0, u, smoothed)

    def _note_strange(self, rows: tf.Tensor) -> None:
        # A maximum, as XLA did not finish compiling a step with an argmax for a GPU.
        rows = tf.cast(tf.reshape(rows, [-1]), tf.int64)
        strange = tf.where(self._rows_in_table(rows) == self.num_examples, rows, _NONE)
        self._strange_row.assign(tf.maximum(self._strange_row.value, tf.reduce_max(strange)))


def _by_row(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the order that sorts rows, and whether each sorted row equals the next one.

    Args:
        row: Integers, shape (n,).

    Returns:
        `(order, met_again)`, integers and bool, shape (n,). The order is stable: of equal rows the
        last in the batch comes last.
    """
    order = tf.argsort(row, stable=True)
    row = tf.gather(row, order)
    return order, tf.concat([row[1:] == row[:-1], tf.zeros_like(row[:1], tf.bool)], axis=0)
