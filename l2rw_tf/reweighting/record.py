"""The ledger: what every training example was given over a run, by its id."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.replicas import gather_examples
from l2rw_tf.reweighting.weighting import history_evidence as likeness

_NONE = -(2**63)
# Columns of the two tables: what is added up over an example's visits, and what the last one left.
_SUMS = ("times_seen", "positive_visits", "weight_sum", "u_sum", "loss_sum")
_LAST = ("last_weight", "last_u", "smoothed_u")
# Columns of a third, kept where asked for: what `likeness.compare` found, summed over the visits.
_FINDINGS = 2


class Ledger:
    """One row a training example, in variables on the device, updated inside the training step.

    Every u here is in units of its batch (`weights.scale`), so that figures of different steps,
    learning rates and batch sizes can be compared. An example that is met twice in a batch is seen
    twice; its last values are those of the later place.
    """

    def __init__(
        self, num_examples: int, smoothing: float = 0.7, with_findings: bool = False
    ) -> None:
        """Begins an empty ledger.

        Args:
            num_examples: Number of rows; ids lie between 0 and `num_examples` − 1.
            smoothing: c of the smoothed u: s ← c s + (1 − c) u at each visit, s = u at the first;
                with 1, s is the mean over all visits.
            with_findings: Whether `update` is given findings.

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
        self._smoothing = smoothing
        # Floats throughout: XLA on a GPU cannot write to variables of 32-bit integers.
        self._sums = self._table(len(_SUMS), "sums")
        self._last = self._table(len(_LAST), "last")
        self._findings = self._table(_FINDINGS, "findings") if with_findings else None
        self._strange_id = keras.Variable(_NONE, dtype="int64", trainable=False, name="strange_id")

    def smoothed(self, ids: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the smoothed u of the examples of a batch, this visit included.

        Args:
            ids: Integers, shape (N,).
            u: Their signed meta-gradient in units of the batch, shape (N,).

        Returns:
            The smoothed u and the number of visits before this one; float32, shape (N,).
        """
        row = self._rows(ids)
        u = tf.cast(u, tf.float32)
        visits = self.visits(ids)
        if self._smoothing == 1:
            u_sum = tf.gather(self._sums.value, row)[:, _SUMS.index("u_sum")]
            s = (u_sum + u) / (visits + 1)
        else:
            before = tf.gather(self._last.value, row)[:, _LAST.index("smoothed_u")]
            s = self._smoothing * before + (1 - self._smoothing) * u
        return tf.where(visits == 0, u, s), visits

    def visits(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns how often examples were seen before; float32, shape (N,).

        Args:
            ids: Integers, shape (N,).
        """
        return tf.gather(self._sums.value, self._rows(ids))[:, _SUMS.index("times_seen")]

    def findings(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the findings of the earlier visits, summed; float32, shape (N, 2).

        Args:
            ids: Integers, shape (N,).
        """
        return tf.gather(self._findings.value, self._rows(ids))

    def update(
        self,
        ids: tf.Tensor,
        u: tf.Tensor,
        weights: tf.Tensor,
        losses: tf.Tensor,
        findings: tf.Tensor | None = None,
    ) -> None:
        """Enters one batch; under a strategy every replica keeps the whole table.

        Args:
            ids: Integers, shape (N,).
            u: Signed meta-gradient in units of the batch, shape (N,).
            weights: Example weights, shape (N,).
            losses: Unweighted losses ℓ_i, shape (N,).
            findings: What `likeness.compare` returned, shape (N, 2), for a ledger with findings.
        """
        columns = [tf.cast(values, tf.float32) for values in (u, weights, losses)]
        if findings is not None:
            columns.append(findings)
        ids, u, weights, losses, *findings = gather_examples([tf.reshape(ids, [-1]), *columns])
        self._note_strange(ids)
        s, _ = self.smoothed(ids, u)
        row = self._rows(ids)
        visit = [tf.ones_like(u), tf.cast(weights > 0, tf.float32), weights, u, losses]
        last = tf.where(_met_again(row), tf.cast(self.num_examples, row.dtype), row)
        # By its handle, a variable of a strategy is the one of this replica.
        tf.raw_ops.ResourceScatterNdAdd(
            ref=self._sums.value.handle, indices=row[:, None], updates=tf.stack(visit, axis=1)
        )
        tf.raw_ops.ResourceScatterNdUpdate(
            ref=self._last.value.handle,
            indices=last[:, None],
            updates=tf.stack([weights, u, s], axis=1),
        )
        for found in findings:
            tf.raw_ops.ResourceScatterNdAdd(
                ref=self._findings.value.handle, indices=row[:, None], updates=found
            )

    def record(self) -> dict[str, np.ndarray]:
        """Returns the table, by column, each of shape (num_examples,).

        Returns:
            `id`, `times_seen`, `mean_weight`, `mean_u`, `mean_loss`, `positive_share`,
            `last_weight`, `last_u` and `smoothed_u`, and with findings `likeness`, r of
            `likeness.probability`, NaN also where no visit counted. All but the first two are NaN
            for an example that was never seen.
        """
        sums = dict(zip(_SUMS, self._sums.numpy()[:-1].T, strict=True))
        last = dict(zip(_LAST, self._last.numpy()[:-1].T, strict=True))
        visits = np.where(sums["times_seen"] > 0, sums["times_seen"], np.nan)
        if self._findings is not None:
            findings = self._findings.value[:-1]
            r = tf.where(findings[:, 1] > 0, likeness.probability(findings), np.nan)
            last["likeness"] = r.numpy()
        return {
            "id": np.arange(self.num_examples),
            "times_seen": sums["times_seen"].astype(np.int64),
            "mean_weight": sums["weight_sum"] / visits,
            "mean_u": sums["u_sum"] / visits,
            "mean_loss": sums["loss_sum"] / visits,
            "positive_share": sums["positive_visits"] / visits,
            **{name: np.where(np.isnan(visits), np.nan, column) for name, column in last.items()},
        }

    def check_ids(self) -> None:
        """Refuses ids outside the table that a step has met.

        Raises:
            UsageError: Naming the largest of them.
        """
        strange = int(self._strange_id.numpy())
        if strange != _NONE:
            raise UsageError(
                f"The training data holds the id {strange}, but the ledger has "
                f"{self.num_examples} rows: ids must lie between 0 and {self.num_examples - 1}; "
                "give track_examples=NUMBER_OF_TRAINING_EXAMPLES."
            )

    @property
    def variables(self) -> list[keras.Variable]:
        """All that the ledger holds."""
        return [self._sums, self._last, self._strange_id, *self._kept_findings.values()]

    @property
    def _kept_findings(self) -> dict[str, keras.Variable]:
        return {} if self._findings is None else {"findings": self._findings}

    @property
    def _tables(self) -> dict[str, keras.Variable]:
        return {"sums": self._sums, "last": self._last, **self._kept_findings}

    def save(self) -> dict[str, np.ndarray]:
        """Returns what `load` takes."""
        return {name: table.numpy()[:-1] for name, table in self._tables.items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes up a saved ledger of the same number of rows."""
        for name, table in self._tables.items():
            table.assign(np.pad(np.asarray(saved[name]), [(0, 1), (0, 0)]))

    def _table(self, columns: int, name: str) -> keras.Variable:
        # One row more, which takes what belongs to no example and is never read.
        zeros = np.zeros((self.num_examples + 1, columns))
        return keras.Variable(zeros, dtype="float32", trainable=False, name=name)

    def _rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the row of each id; the last row where an id is outside the table."""
        ids = tf.cast(tf.reshape(ids, [-1]), tf.int64)
        known = (ids >= 0) & (ids < self.num_examples)
        return tf.where(known, ids, self.num_examples)

    def _note_strange(self, ids: tf.Tensor) -> None:
        # By a maximum: with an argmax in the step, XLA did not end compiling it for a GPU.
        ids = tf.cast(tf.reshape(ids, [-1]), tf.int64)
        strange = tf.where(self._rows(ids) == self.num_examples, ids, _NONE)
        self._strange_id.assign(tf.maximum(self._strange_id.value, tf.reduce_max(strange)))


def _met_again(row: tf.Tensor) -> tf.Tensor:
    """Returns for each place whether the same row stands at a later one, bool (N,)."""
    places = tf.range(tf.size(row))
    later = places[None, :] > places[:, None]
    return tf.reduce_any(later & (row[None, :] == row[:, None]), axis=1)
