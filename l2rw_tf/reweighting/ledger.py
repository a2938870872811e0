"""The ledger: what every training example was given over a run, by its id."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError

_NONE = -(2**63)
_COLUMNS = ("times_seen", "weight_sum", "u_sum", "positive_visits", "last_weight", "last_u")


class Ledger:
    """One row a training example, in variables on the device, updated inside the training step.

    The signed u of a batch is divided by the mean of |u| over the batch, so that figures of
    different steps, learning rates and batch sizes can be compared. An example that is met twice in
    a batch is seen twice; its last values are those of the later place.
    """

    def __init__(self, num_examples: int) -> None:
        """Begins an empty ledger.

        Args:
            num_examples: Number of rows; ids lie between 0 and `num_examples` − 1.

        Raises:
            UsageError: If it is not a whole number of at least 1.
        """
        if isinstance(num_examples, bool) or not isinstance(num_examples, (int, np.integer)):
            raise UsageError(
                "track_examples must be True, or for data sets the number of training examples, "
                f"got {num_examples!r}."
            )
        if num_examples < 1:
            raise UsageError(f"track_examples must be at least 1, got {num_examples}.")
        self.num_examples = int(num_examples)
        self._columns = {
            name: keras.Variable(
                # One row more, which takes what belongs to no example and is never read.
                np.zeros(self.num_examples + 1),
                dtype="int32" if name in ("times_seen", "positive_visits") else "float32",
                trainable=False,
                name=name,
            )
            for name in _COLUMNS
        }
        self._strange_id = keras.Variable(_NONE, dtype="int64", trainable=False, name="strange_id")

    def update(self, ids: tf.Tensor, u: tf.Tensor, weights: tf.Tensor) -> None:
        """Enters one batch.

        Args:
            ids: Integers, shape (N,).
            u: Signed meta-gradient, shape (N,).
            weights: Normalized example weights, shape (N,).
        """
        ids = tf.cast(tf.reshape(ids, [-1]), tf.int64)
        u, weights = tf.cast(u, tf.float32), tf.cast(weights, tf.float32)
        scaled = tf.math.divide_no_nan(u, tf.reduce_mean(tf.abs(u)))
        known = (ids >= 0) & (ids < self.num_examples)
        self._note_strange(ids, known)
        row = tf.where(known, ids, self.num_examples)
        self._add("times_seen", row, tf.ones_like(row, tf.int32))
        self._add("weight_sum", row, weights)
        self._add("u_sum", row, scaled)
        self._add("positive_visits", row, tf.cast(weights > 0, tf.int32))
        last = tf.where(_met_again(ids), tf.cast(self.num_examples, row.dtype), row)
        self._replace("last_weight", last, weights)
        self._replace("last_u", last, scaled)

    def record(self) -> dict[str, np.ndarray]:
        """Returns the table, by column, each of shape (num_examples,).

        Returns:
            `id`, `times_seen`, `mean_weight`, `mean_u`, `positive_share`, `last_weight` and
            `last_u`. Means and last values of an example that was never seen are NaN.
        """
        columns = self.save()
        seen = columns["times_seen"]
        visits = np.where(seen > 0, seen, np.nan)
        never = seen == 0
        return {
            "id": np.arange(self.num_examples),
            "times_seen": seen,
            "mean_weight": columns["weight_sum"] / visits,
            "mean_u": columns["u_sum"] / visits,
            "positive_share": columns["positive_visits"] / visits,
            "last_weight": np.where(never, np.nan, columns["last_weight"]),
            "last_u": np.where(never, np.nan, columns["last_u"]),
        }

    def check_ids(self) -> None:
        """Refuses ids outside the table that a step has met.

        Raises:
            UsageError: Naming the first of them.
        """
        strange = int(self._strange_id.numpy())
        if strange != _NONE:
            raise UsageError(
                f"The training data holds the id {strange}, but the ledger has "
                f"{self.num_examples} rows: ids must lie between 0 and {self.num_examples - 1}; "
                "give track_examples=NUMBER_OF_TRAINING_EXAMPLES."
            )

    def save(self) -> dict[str, np.ndarray]:
        """Returns what `load` takes."""
        return {name: variable.numpy()[:-1] for name, variable in self._columns.items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes up a saved ledger of the same number of rows."""
        for name, variable in self._columns.items():
            variable.assign(np.append(np.asarray(saved[name]), 0))

    def _note_strange(self, ids: tf.Tensor, known: tf.Tensor) -> None:
        first = ids[tf.argmax(tf.cast(~known, tf.int32))]
        is_first = tf.reduce_any(~known) & tf.equal(self._strange_id.value, _NONE)
        self._strange_id.assign(tf.where(is_first, first, self._strange_id.value))

    def _add(self, name: str, row: tf.Tensor, values: tf.Tensor) -> None:
        self._columns[name].value.scatter_nd_add(row[:, None], values)

    def _replace(self, name: str, row: tf.Tensor, values: tf.Tensor) -> None:
        self._columns[name].value.scatter_nd_update(row[:, None], values)


def _met_again(ids: tf.Tensor) -> tf.Tensor:
    """Returns for each place whether the same id stands at a later one, bool (N,)."""
    places = tf.range(tf.size(ids))
    later = places[None, :] > places[:, None]
    return tf.reduce_any(later & (ids[None, :] == ids[:, None]), axis=1)
