"""One loss value per example, ℓ_i, for any loss that Keras accepts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.feeding.checks import as_numpy
from l2rw_tf.reweighting.keras_internals import CompileLoss, get_loss, losses_by_output, mask_of
from l2rw_tf.reweighting.replicas import mean_over_examples


class ExampleLosses(CompileLoss):
    """Keras's own container of losses, which returns ℓ of shape (N,) instead of a scalar.

    Keras matches outputs, labels, losses and loss weights; only the last reduction, over the
    examples, is omitted. So Σ_i w_i ℓ_i is the loss that Keras computes with sample weights w for
    the reduction `sum`, and with sample weights N w for the reductions `sum_over_batch_size` and
    `mean`, masks included.
    """

    def __init__(
        self,
        loss: Any,
        loss_weights: Any = None,
        output_names: list[str] | None = None,
    ) -> None:
        """Wraps the losses of `Model.compile`.

        Args:
            loss: What `Model.compile(loss=...)` accepts.
            loss_weights: What `Model.compile(loss_weights=...)` accepts.
            output_names: Names of the network's outputs, for losses given by name.

        Raises:
            UsageError: If no loss is given.
        """
        if loss is None:
            raise UsageError(
                "The model has no loss: reweighting needs compile(loss=...) with a value per "
                "example."
            )
        per_output = keras.tree.map_structure(
            lambda one: None if one is None else _OutputLoss(one), loss, none_is_leaf=True
        )
        super().__init__(per_output, loss_weights, output_names=output_names)
        self._sparse_losses: list[tuple[int, _OutputLoss]] = []

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Matches outputs, labels and losses, without creating variables for metrics.

        A `tf.function` cannot create variables when it is traced a second time.
        """
        with keras.StatelessScope(initialize_variables=False):
            super().build(y_true, y_pred)

    @property
    def metrics(self) -> list[None]:
        """No trackers: the loss container of `Model.compile` does the logging."""
        return [None] * len(losses_by_output(self))

    def sample_weight_for_keras(self, weights: tf.Tensor, y_pred: Any) -> Any:
        """Returns sample weights with which Keras's own loss is Σ_i weights_i ℓ_i.

        Args:
            weights: Shape (N,).
            y_pred: The network's outputs, on which this container has been called.

        Returns:
            A structure like `y_pred` of weights, expanded to the rank of each unreduced loss.
        """
        leaves = {}
        for path, loss in losses_by_output(self):
            output = y_pred
            for key in path:
                output = output[key]
            leaves[id(output)] = loss.sample_weight_for_keras(weights)
        return keras.tree.map_structure(lambda output: leaves.get(id(output), weights), y_pred)

    def trace(self, y: Any, y_pred: Any) -> None:
        """Computes ℓ of one batch, and stores which labels belong to which loss.

        Args:
            y: Labels, a structure of tensors.
            y_pred: Outputs of the network.

        Raises:
            UsageError: If a loss has no value per example.
        """
        self(y, y_pred)
        places = {id(leaf): place for place, leaf in enumerate(keras.tree.flatten(y))}
        self._sparse_losses = [
            (places[id(loss.y_true)], loss)
            for _, loss in losses_by_output(self)
            if loss.is_sparse and id(loss.y_true) in places
        ]

    def check_labels(self, labels: Any, what: str) -> None:
        """Refuses sparse labels outside the network's classes. Call `trace` first.

        Args:
            labels: A structure of arrays like the `y` that was traced.
            what: Name of the labels in the message, such as "y".

        Raises:
            UsageError: If a label is not a class; names the label and the number of classes.
        """
        leaves = keras.tree.flatten(labels)
        for place, loss in self._sparse_losses:
            loss.check_labels(np.asarray(as_numpy(leaves[place])), what)


class _OutputLoss(keras.losses.Loss):
    """The loss of one output, reduced over everything but the examples."""

    def __init__(self, loss: Any) -> None:
        super().__init__(name=getattr(loss, "name", None) or "loss")
        self._given = loss
        self._loss: keras.losses.Loss | None = None
        self._is_mean = False
        self._rank = 1
        self.y_true: Any = None
        self._num_classes: int | None = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        loss = self._loss = self._loss or get_loss(self._given, y_true, y_pred)
        self.y_true = y_true
        self._num_classes = y_pred.shape[-1] if hasattr(y_pred, "shape") else None
        # Dividing by the sum of the weights makes the derivative with respect to each weight 0 if
        # all losses are equal, so u is meaningless.
        if loss.reduction == "mean_with_sample_weight":
            raise UsageError(
                f"The loss {loss.name!r} has reduction='mean_with_sample_weight', which divides by "
                "the sum of the example weights: use 'sum_over_batch_size', 'mean' or 'sum'."
            )
        self._is_mean = loss.reduction in ("sum_over_batch_size", "mean")
        mask = mask_of(y_pred)
        y_pred = keras.tree.map_structure(
            lambda t: keras.ops.convert_to_tensor(t, loss.dtype), y_pred
        )
        y_true = keras.tree.map_structure(
            lambda t: keras.ops.convert_to_tensor(t, loss.dtype), y_true
        )
        values = keras.ops.convert_to_tensor(loss.call(y_true, y_pred), loss.dtype)
        self._check_per_example(loss.name, values, y_pred)
        self._rank = values.shape.rank
        loss_mask = mask_of(values)
        if loss_mask is not None:
            mask = loss_mask if mask is None else tf.logical_and(mask, loss_mask)
        return self._reduce_positions(values, mask, sample_weight)

    def _check_per_example(self, name: str, values: tf.Tensor, y_pred: Any) -> None:
        batch = keras.tree.flatten(y_pred)[0].shape[0]
        rank = values.shape.rank
        if rank == 0 or (None not in (batch, values.shape[0]) and values.shape[0] != batch):
            came = "a single number" if rank == 0 else f"the shape {tuple(values.shape)}"
            raise UsageError(
                f"The loss {name!r} gives no value per example: it returned {came} for "
                f"a batch of {batch or 'N'} examples. Reweighting needs a loss whose call(y_true, "
                "y_pred) keeps the first axis, such as the cross-entropies and squared errors of "
                "Keras."
            )

    def _reduce_positions(
        self, values: tf.Tensor, mask: tf.Tensor | None, sample_weight: tf.Tensor | None
    ) -> tf.Tensor:
        """Sums or averages over time steps or pixels, with masks, as Keras's reduction does."""
        axes = list(range(1, values.shape.rank))
        if sample_weight is not None:
            values *= _expand(tf.cast(sample_weight, values.dtype), values)
        if mask is None:
            return tf.reduce_mean(values, axes) if self._is_mean else tf.reduce_sum(values, axes)
        counted = tf.broadcast_to(_expand(tf.cast(mask, values.dtype), values), tf.shape(values))
        losses = tf.reduce_sum(values * counted, axes)
        if self._is_mean:
            # Keras divides by the unmasked positions of the whole batch, not of each example.
            losses = tf.math.divide_no_nan(losses, mean_over_examples(tf.reduce_sum(counted, axes)))
        return losses

    def sample_weight_for_keras(self, weights: tf.Tensor) -> tf.Tensor:
        if self._is_mean:
            weights *= tf.cast(tf.shape(weights)[0], weights.dtype)
        return tf.reshape(weights, [-1] + [1] * (max(self._rank, 2) - 1))

    @property
    def is_sparse(self) -> bool:
        return getattr(self._loss, "fn", None) is keras.losses.sparse_categorical_crossentropy

    def check_labels(self, labels: np.ndarray, what: str) -> None:
        if (num_classes := self._num_classes) is None:
            return
        allowed = labels != getattr(self._loss, "ignore_class", None)
        wrong = labels[allowed & ((labels < 0) | (labels >= num_classes))]
        if wrong.size:
            raise UsageError(
                f"{what} holds the label {wrong.flat[0]}, but the network has {num_classes} "
                f"classes: labels must lie between 0 and {num_classes - 1}."
            )


def _expand(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Reshapes weights to the rank of the losses, aligned at the first axis, not the last."""
    missing = values.shape.rank - weights.shape.rank
    if missing < 0:
        return tf.reshape(weights, tf.shape(weights)[: values.shape.rank])
    return tf.reshape(weights, tf.concat([tf.shape(weights), [1] * missing], 0))
