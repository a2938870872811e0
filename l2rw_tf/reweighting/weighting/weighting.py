"""The base class of weightings, with the values that a weighting receives in a training step."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting.meta_gradient import Estimator, clean_gradient
from l2rw_tf.reweighting.objective import Batch, Gradient, Objective
from l2rw_tf.reweighting.state import RowState
from l2rw_tf.reweighting.variables import MetaVariables


@dataclasses.dataclass(frozen=True)
class CleanPass:
    """Results of the pass on the clean batch.

    Attributes:
        loss: (1/M) Σ_j ℓ^v_j, a scalar.
        directions: Gradients to align examples with; the first is v, the gradient of `loss`.
    """

    loss: tf.Tensor
    directions: list[Gradient]

    @property
    def results(self) -> list[tf.Tensor]:
        """The tensors that are used after the activations of the pass are freed."""
        return [part for one in self.directions for part in one if part is not None]


@dataclasses.dataclass(frozen=True)
class Visit:
    """One training batch, as passed to a weighting.

    Attributes:
        alignments: ⟨∇ℓ_i, d⟩ for each direction d of the clean pass, shape (n,); the first is u.
        losses: ℓ of the training examples, shape (n,).
        sample_weight: The user's own weights s, shape (n,), or None for ones.
        clean: What `clean_pass` returned.
        rows: Rows of the training examples, shape (n,), or None if they are not tracked.
        times_seen: How often each example was seen before, shape (n,), or None.
        num_parameters: The number of trainable parameters of the network.
    """

    alignments: list[tf.Tensor]
    losses: tf.Tensor
    sample_weight: tf.Tensor | None
    clean: CleanPass
    rows: tf.Tensor | None
    times_seen: tf.Tensor | None
    num_parameters: int

    @property
    def u(self) -> tf.Tensor:
        """The signed meta-gradient, ⟨∇ℓ_i, v⟩, shape (n,)."""
        return self.alignments[0]


class Weighting(RowState):
    """Step 3 of the method, with tables of its own if it needs any.

    Attributes:
        meta_variables: Default of `ReweightingModel(meta_variables=...)` with this weighting.
        needs_rows: Whether `weigh` needs `Visit.rows`.
    """

    meta_variables: MetaVariables = "all"
    needs_rows = False

    def clean_pass(
        self, objective: Objective, clean_batch: Batch, estimator: Estimator
    ) -> CleanPass:
        """Computes from the clean batch what the weights need, at least the gradient v.

        Args:
            objective: The network, its losses and variables.
            clean_batch: `(x, y[, sample_weight])` of first dimension M.
            estimator: The estimator of alignments.
        """
        loss, v = clean_gradient(objective, clean_batch)
        return CleanPass(loss, [v])

    def weigh(self, visit: Visit) -> tf.Tensor:
        """Returns the example weights w of a batch, and updates the tables, if any.

        Args:
            visit: The batch.

        Returns:
            w, of u's dtype, shape (n,): non-negative, with a sum of at most 1 over the batch.
        """
        raise NotImplementedError

    def columns(self) -> dict[str, np.ndarray]:
        """Returns further columns for the record of the examples, each of shape (num_examples,)."""
        return {}
