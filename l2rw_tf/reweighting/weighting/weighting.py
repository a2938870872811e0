"""The interface of weightings: step 3 of the method, from u to the example weights."""

from __future__ import annotations

import tensorflow as tf

from l2rw_tf.reweighting.state import TrainingState


class Weighting(TrainingState):
    """Computes example weights from u and the losses of a batch.

    Under a strategy with several replicas, sums over the batch go through `replicas.py`.
    """

    def learn(self, u: tf.Tensor, losses: tf.Tensor, sample_weight: tf.Tensor | None) -> None:
        """Updates the weighting's own variables, if it has any, before `weigh` in each step.

        Args:
            u: The signed meta-gradient, shape (n,).
            losses: ℓ of the training examples, shape (n,).
            sample_weight: The user's weights s, shape (n,), or None for ones.
        """

    def weigh(self, u: tf.Tensor, losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
        """Returns the example weights w of a batch; takes the arguments of `learn`.

        Returns:
            w, of u's dtype, shape (n,): non-negative, with a sum of at most 1 over the batch.
        """
        raise NotImplementedError
