"""A network's losses on a batch as a function of its variables, without changing any state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.reweighting.keras_internals import flatten_layers
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.passes import observed_call, split_sample_weight

Batch = tuple[Any, ...]

# A dense tensor for each variable of an objective, or None if the variable is unconnected.
Gradient = list[tf.Tensor | None]


@dataclasses.dataclass(frozen=True)
class Objective:
    """The losses of a network's examples as a function of some of its variables.

    Attributes:
        network: A built network; no method here changes its state.
        example_losses: Its losses, one per example.
        variables: The variables of the gradients.
        loss_scale: A factor that keeps half-precision gradients from underflowing, and that they
            are divided by again; by default 1024 for networks that compute in float16, else 1.
    """

    network: keras.Model
    example_losses: ExampleLosses
    variables: list[keras.Variable]
    loss_scale: tf.Tensor | float | None = None

    def losses(
        self,
        batch: Batch,
        values: Iterable[tuple[keras.Variable, tf.Tensor]] = (),
        is_clean: bool = False,
    ) -> tf.Tensor:
        """Returns ℓ of a batch, shape (n,).

        Args:
            batch: `(x, y)` or `(x, y, sample_weight)` of first dimension n. ℓ includes weights
                within examples, but not weights per example.
            values: Pairs of a variable and its value in this pass.
            is_clean: Whether this is a clean batch, which draws its own dropout mask instead of
                that of the training call.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        _, within = split_sample_weight(sample_weight)
        return self.example_losses(y, observed_call(self.network, x, values, is_clean), within)

    def clean_losses(self, clean_batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns ℓ^v and the user's weights of the clean examples, or ones; shapes (m,)."""
        losses = self.losses(clean_batch, is_clean=True)
        weight, _ = split_sample_weight(keras.utils.unpack_x_y_sample_weight(clean_batch)[2])
        return losses, tf.ones_like(losses) if weight is None else tf.cast(weight, losses.dtype)

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns a loss times the loss scale, to be recorded by the tape for `gradient`."""
        return loss * self._factor

    def gradient(self, tape: tf.GradientTape, scaled: tf.Tensor) -> Gradient:
        """Returns the gradient of a loss with respect to the variables.

        Args:
            tape: A tape that has recorded the loss.
            scaled: The loss as returned by `scaled`.
        """
        return [
            None if g is None else tf.convert_to_tensor(g) / tf.cast(self._factor, g.dtype)
            for g in tape.gradient(scaled, [variable.value for variable in self.variables])
        ]

    @property
    def _factor(self) -> tf.Tensor | float:
        if self.loss_scale is not None:
            return self.loss_scale
        is_half = any(one.compute_dtype == "float16" for one in flatten_layers(self.network))
        return 1024.0 if is_half else 1.0
