"""Weights from an example's own history: another step 3, beside `weights.normalize`."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.weights import normalize

Shape = Literal["shifted", "rectified", "equal", "sigmoid"]


@dataclasses.dataclass(frozen=True)
class HistoryWeighting:
    """Weights from u smoothed over an example's visits, s, instead of the u of one batch.

    s ← c s + (1 − c) u at each visit, s = u at the first, where u is in units of its batch
    (`weights.scale`); w̃_i = max(s_i + margin, 0), but 1 at an example's first visit, so that a
    first epoch is plain training; w_i = w̃_i / Σ_k w̃_k. Not in the paper, whose weights rest on one
    clean batch and leave few examples of a batch in it: here an example is left out when it has
    been clearly against the clean examples for some time, and counts in full when nothing is known
    of it. docs/results.md has the measurements behind the defaults.

    Attributes:
        smoothing: c; with 0 the u of this visit alone, with 1 the mean over all visits.
        shape: "shifted" as above; "rectified", max(s, 0); "equal", 1 where s > −margin, otherwise
            0; "sigmoid", 1 / (1 + exp(−3 s)).
        margin: How far below 0 the smoothed u of an example may lie, at least 0.
        full_visits: At how many first visits w̃ is 1.
    """

    smoothing: float = 0.7
    shape: Shape = "shifted"
    margin: float = 1.0
    full_visits: int = 1

    def __post_init__(self) -> None:
        """Checks the values."""
        if not 0 <= self.smoothing <= 1:
            raise UsageError(f"smoothing must lie between 0 and 1, got {self.smoothing!r}.")
        if self.shape not in get_args(Shape):
            raise UsageError(
                f"shape must be one of {', '.join(get_args(Shape))}, got {self.shape!r}."
            )
        if not self.margin >= 0:
            raise UsageError(f"margin must be at least 0, got {self.margin!r}.")
        if not self.full_visits >= 0:
            raise UsageError(f"full_visits must be at least 0, got {self.full_visits!r}.")

    def __call__(
        self, s: tf.Tensor, visits: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the example weights w of a batch.

        Args:
            s: Smoothed u of the examples, this visit included, float, shape (N,).
            visits: How often each was seen before, shape (N,).
            sample_weight: The user's own weights, shape (N,), or None for ones.

        Returns:
            w, of s's dtype, shape (N,): not negative, with sum 1, or 0 throughout.
        """
        unnormalized = tf.where(visits < self.full_visits, tf.ones_like(s), self._shaped(s))
        return normalize(unnormalized, sample_weight)

    def _shaped(self, s: tf.Tensor) -> tf.Tensor:
        if self.shape == "shifted":
            return tf.maximum(s + self.margin, 0)
        if self.shape == "rectified":
            return tf.maximum(s, 0)
        if self.shape == "equal":
            return tf.cast(s > -self.margin, s.dtype)
        return tf.sigmoid(3 * s)


def get_weighting(weighting: str | dict | HistoryWeighting) -> HistoryWeighting | None:
    """Returns the weighting that an argument of `ReweightingModel` names; None for the paper's.

    Args:
        weighting: "paper", "history", a `HistoryWeighting` or its fields by name.

    Raises:
        UsageError: If it is none of these.
    """
    if isinstance(weighting, HistoryWeighting):
        return weighting
    if isinstance(weighting, dict):
        return HistoryWeighting(**weighting)
    if weighting not in ("paper", "history"):
        raise UsageError(
            f"weighting must be 'paper', 'history' or a HistoryWeighting, got {weighting!r}."
        )
    return HistoryWeighting() if weighting == "history" else None
