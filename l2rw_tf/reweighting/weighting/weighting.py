"""What every weighting has: what it takes from the clean batch, and how it weights a batch."""

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
    """What a step takes from its clean batch.

    Attributes:
        loss: (1/M) Σ_j ℓ^v_j, a scalar.
        directions: Gradients that examples are aligned with: v, the gradient of that loss, first.
    """

    loss: tf.Tensor
    directions: list[Gradient]

    @property
    def results(self) -> list[tf.Tensor]:
        """All that is still to be used when the activations of the pass no longer are."""
        return [part for one in self.directions for part in one if part is not None]


@dataclasses.dataclass(frozen=True)
class Visit:
    """One training batch, as a weighting meets it.

    Attributes:
        alignments: ⟨∇ℓ_i, d⟩ for every direction of the clean pass, each (n,); u first.
        losses: ℓ of the training examples, shape (n,).
        sample_weight: The user's own weights s, shape (n,), or None for ones.
        clean: What `clean_pass` returned.
        rows: Which training examples these are, shape (n,), or None if nobody knows.
        times_seen: How often each was seen before, shape (n,), or None likewise.
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
        meta_variables: What u is taken through unless the user chooses.
        needs_rows: Whether it has to know which examples are in a batch.
    """

    meta_variables: MetaVariables = "all"
    needs_rows = False

    def clean_pass(
        self, objective: Objective, clean_batch: Batch, estimator: Estimator
    ) -> CleanPass:
        """Takes from the clean batch what the weights will need; the gradient v at least.

        Args:
            objective: The network, its losses and the variables that v is taken by.
            clean_batch: `(x, y[, sample_weight])` of first dimension M.
            estimator: How alignments are estimated.
        """
        loss, v = clean_gradient(objective, clean_batch)
        return CleanPass(loss, [v])

    def weigh(self, visit: Visit) -> tf.Tensor:
        """Returns the example weights w of a batch, and notes in its tables what it has seen.

        Args:
            visit: The batch.

        Returns:
            w, of u's dtype, shape (n,): not negative, with a sum of at most 1 over the batch.
        """
        raise NotImplementedError

    def columns(self) -> dict[str, np.ndarray]:
        """Returns columns that the record of the examples has beside its own, each (rows,)."""
        return {}
