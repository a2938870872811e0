"""What weights from history take from the clean batch: more than the gradient v."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from l2rw_tf.reweighting.meta_gradient import Estimator
from l2rw_tf.reweighting.objective import Batch, Objective
from l2rw_tf.reweighting.replicas import first_example, part_of_sum, sum_over_replicas
from l2rw_tf.reweighting.variables import watching
from l2rw_tf.reweighting.weighting.weighting import CleanPass


@dataclasses.dataclass(frozen=True)
class CleanReference(CleanPass):
    """What a clean batch is to training examples that are compared with it.

    `directions` holds v and the same gradient of the first, the third, ... clean example.

    Attributes:
        losses: ℓ^v of this replica's clean examples, shape (m,).
        weight: The user's weights of them, shape (m,).
        u: ⟨∇ℓ^v_j, d⟩ with d the second direction, shape (m,).
        is_held_out: Whether an example is no part of that direction, 0 or 1, shape (m,), as no
            training example is: an example agrees with any gradient that it is a part of.
    """

    losses: tf.Tensor
    weight: tf.Tensor
    u: tf.Tensor
    is_held_out: tf.Tensor

    @property
    def results(self) -> list[tf.Tensor]:
        """The directions and u."""
        return [*super().results, self.u]


def clean_reference(
    objective: Objective, clean_batch: Batch, estimator: Estimator
) -> CleanReference:
    """Returns the clean gradient, and the losses and alignments of the clean examples themselves.

    Args:
        objective: The network, its losses and the variables that gradients are taken by.
        clean_batch: `(x, y[, sample_weight])` of first dimension M.
        estimator: How alignments are estimated.
    """
    with watching(objective.variables, persistent=True) as tape:
        losses, weight = objective.clean_losses(clean_batch)
        weighted = losses * weight
        places = first_example(losses) + tf.range(tf.size(losses))
        is_held_out = tf.cast(places % 2, losses.dtype)
        sizes = [tf.cast(tf.size(losses), losses.dtype), tf.reduce_sum(1 - is_held_out)]
        number, number_of_half = sum_over_replicas(sizes)
        clean_loss = tf.reduce_sum(weighted) / number
        loss_of_half = tf.reduce_sum(weighted * (1 - is_held_out)) / number_of_half
        targets = [objective.scaled(one) for one in (clean_loss, loss_of_half)]
    examples = keras.tree.flatten(clean_batch)[0]
    directions = [
        sum_over_replicas(part_of_sum(objective.gradient(tape, target), examples))
        for target in targets
    ]
    with estimator(objective, clean_batch, directions[1:], is_clean=True) as alignments:
        (u,) = alignments(tape, losses)
    loss = sum_over_replicas(clean_loss)
    return CleanReference(loss, directions, losses, weight, u, is_held_out)
