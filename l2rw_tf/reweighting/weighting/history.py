"""Weights from an example's own history: another step 3, beside `weights.normalize`."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.weights import normalize

Shape = Literal["likeness", "mixed", "shifted", "rectified", "equal", "sigmoid"]


@dataclasses.dataclass(frozen=True)
class HistoryWeighting:
    """Weights from what all visits to an example have shown, instead of one batch alone.

    The paper's weights rest on one clean batch and leave few examples of a batch in it. With the
    shape "likeness" examples are weighted by how probable it is, beside the clean examples, that
    their label is right, by u too as far as a network may know them by heart, and as in the paper
    only as far as they are against the clean gradient as a whole (`likeness.weigh`).
    The other shapes came before and know s alone, u smoothed over the example's visits: s ← c s +
    (1 − c) u at each visit, s = u at the first, with u in units of its batch (`weights.scale`). Not
    in the paper; docs/results.md has the measurements.

    Attributes:
        smoothing: c; with 0 the u of this visit alone, with 1 the mean over all visits. With
            "likeness" it is for the record alone, and `margin` and `full_visits` have no effect.
        shape: "likeness" as above. "mixed": ½ t_i / Σ_j t_j + ½ max(s_i, 0) / Σ_j max(s_j, 0) with
            t_i = max(0, min(1, 1 + s_i / margin)) and s = 0 at first visits. The rest give w_i =
            w̃_i / Σ_j w̃_j with w̃_i = 1 at first visits: "shifted", max(s + margin, 0);
            "rectified", max(s, 0); "equal", 1 where s > −margin, otherwise 0; "sigmoid", 1 / (1 +
            exp(−3 s)).
        margin: How far below 0 the smoothed u of an example may lie, for "mixed", "shifted" and
            "equal"; at least 0, and above 0 for "mixed".
        full_visits: How many visits count as first ones.
    """

    smoothing: float = 0.7
    shape: Shape = "likeness"
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
        if not self.margin >= 0 or (self.shape == "mixed" and self.margin == 0):
            raise UsageError(
                "margin must be at least 0, and above 0 for the shape 'mixed', "
                f"got {self.margin!r}."
            )
        if not self.full_visits >= 0:
            raise UsageError(f"full_visits must be at least 0, got {self.full_visits!r}.")

    @property
    def is_by_likeness(self) -> bool:
        """Whether the weights are those of `likeness.weigh`, which needs its findings."""
        return self.shape == "likeness"

    def __call__(
        self, s: tf.Tensor, visits: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the example weights w of a batch, for a shape that knows s alone.

        Args:
            s: Smoothed u of the examples, this visit included, float, shape (N,).
            visits: How often each was seen before, shape (N,).
            sample_weight: The user's own weights, shape (N,), or None for ones.

        Returns:
            w, of s's dtype, shape (N,): not negative, with sum 1, or 0 throughout.
        """
        first = visits < self.full_visits
        if self.shape == "mixed":
            s = tf.where(first, tf.zeros_like(s), s)
            not_against = normalize(tf.minimum(1 + s / self.margin, 1), sample_weight)
            return normalize(not_against + normalize(s, sample_weight))
        return normalize(tf.where(first, tf.ones_like(s), self._shaped(s)), sample_weight)

    def _shaped(self, s: tf.Tensor) -> tf.Tensor:
        if self.shape == "shifted":
            return tf.maximum(s + self.margin, 0)
        if self.shape == "rectified":
            return tf.maximum(s, 0)
        if self.shape == "equal":
            return tf.cast(s > -self.margin, s.dtype)
        if self.shape == "sigmoid":
            return tf.sigmoid(3 * s)
        raise ValueError(f"Weights of the shape {self.shape!r} come from likeness.weigh.")


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
