"""The meta-gradient u: how well each example's gradient agrees with that of the clean loss.

A network with parameters θ meets a training batch with losses ℓ_i and a clean batch with losses
ℓ^v_j. The paper looks ahead one step of gradient descent on the ε-weighted training loss,

    θ̂(ε) = θ − α ∇_θ Σ_i ε_i ℓ_i(θ)                                (equations 4 and 5)
    u_i = −∂/∂ε_i (1/M) Σ_j ℓ^v_j(θ̂(ε))  at ε = 0                  (equations 6 and 7)

Since θ̂(0) = θ, the chain rule leaves u_i = α ⟨∇ℓ_i(θ), v⟩ with v = ∇_θ (1/M) Σ_j ℓ^v_j(θ)
(section 3.3 derives it for a multilayer perceptron). α and any positive factor of the losses drop
out when u becomes weights, so α is 1 here. Three estimators give ⟨∇ℓ_i, v⟩, with one signature:

- `nested`: the inner tape forms g(ε) = ∇_θ Σ_i ε_i ℓ_i, the outer one differentiates ⟨g(ε), v⟩ by
  ε. Exact, and the default.
- `forward`: along θ + t v the loss ℓ_i changes at the rate ⟨∇ℓ_i, v⟩, which a forward accumulator
  carries with the pass from operation to operation. Exact, but not for loops.
- `finite_difference`: (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h, without a second derivative.

The tests hold both against the equations to the letter, θ̂ and all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.explain import (
    NO_SECOND_DERIVATIVE,
    no_second_derivative,
    sparse_label_error,
)
from l2rw_tf.reweighting.forward_mode import refuse_obstacles
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.objective import Batch, Gradient, Objective
from l2rw_tf.reweighting.replicas import part_of_sum, sum_over_replicas
from l2rw_tf.reweighting.variables import MetaVariables, select_meta_variables, watching

# From a persistent tape and the losses (n,) that it has recorded to ⟨∇ℓ_i, d⟩, shape (n,), for each
# direction d.
Alignments = Callable[[tf.GradientTape, tf.Tensor], list[tf.Tensor]]

# From (objective, batch, directions, is_clean) to a scope for the pass that gives the losses.
Estimator = Callable[..., AbstractContextManager[Alignments]]


def meta_gradient(
    network: keras.Model,
    loss: Any,
    batch: Batch,
    clean_batch: Batch,
    *,
    loss_weights: Any = None,
    meta_variables: MetaVariables = "all",
    method: str = "nested",
) -> tf.Tensor:
    """Returns the signed meta-gradient u of one batch, for a training loop of the user's own.

    Equations 6 and 7 of the paper with α = 1: u_i = ⟨∇ℓ_i, v⟩, v the gradient of the mean clean
    loss. Both passes run as in training, and nothing is changed: neither moving averages nor the
    state of dropout. `normalize` turns u into example weights:

    ```python
    w = l2rw_tf.normalize(l2rw_tf.meta_gradient(network, loss, (x, y), (x_clean, y_clean)))
    ```

    Args:
        network: Any built `keras.Model`, or one that `x` can build.
        loss: What `Model.compile(loss=...)` accepts, with a value per example.
        batch: `(x, y)` or `(x, y, sample_weight)`, each of first dimension N. A rank-1
            `sample_weight` plays no part in u and belongs to `normalize`.
        clean_batch: `(x, y)` or `(x, y, sample_weight)`, each of first dimension M; the weights
            weight the mean of the clean losses.
        loss_weights: What `Model.compile(loss_weights=...)` accepts.
        meta_variables: "all" trainable variables, those of the "head", or a function of a variable.
        method: "nested", "forward" or "finite_difference".

    Returns:
        u, float, shape (N,).

    Raises:
        UsageError: If the loss has no value per example, the network no trainable variables, an
            operation no second derivative, or one that forward mode cannot follow, or an argument
            a value that is not possible.
    """
    estimator = get_estimator(method)
    batch, clean_batch = (
        keras.tree.map_structure(
            lambda part: None if part is None else tf.convert_to_tensor(part), one
        )
        for one in (tuple(batch), tuple(clean_batch))
    )
    if not network.built:
        network(batch[0])
    losses = ExampleLosses(loss, loss_weights, getattr(network, "output_names", None))
    variables = select_meta_variables(network, meta_variables)
    try:
        return u_of_batch(Objective(network, losses, variables), batch, clean_batch, estimator)
    except tf.errors.InvalidArgumentError as error:
        raise sparse_label_error(error) or error from None


def u_of_batch(
    objective: Objective, batch: Batch, clean_batch: Batch, estimator: Estimator
) -> tf.Tensor:
    """Returns u of one batch, shape (N,), and changes nothing."""
    _, v = clean_gradient(objective, clean_batch)
    with (
        estimator(objective, batch, [v]) as alignments,
        watching(objective.variables, persistent=True) as tape,
    ):
        losses = objective.losses(batch)
    (u,) = alignments(tape, losses)
    return u


def clean_gradient(objective: Objective, clean_batch: Batch) -> tuple[tf.Tensor, Gradient]:
    """Returns the clean loss (1/M) Σ_j s_j ℓ^v_j, a scalar, and its gradient v.

    Args:
        objective: The network, its losses and variables.
        clean_batch: `(x, y[, sample_weight])` of first dimension M.
    """
    with watching(objective.variables) as tape:
        losses, weight = objective.clean_losses(clean_batch)
        number = sum_over_replicas(tf.cast(tf.size(losses), losses.dtype))
        clean_loss = tf.reduce_sum(losses * weight) / number
        scaled = objective.scaled(clean_loss)
    v = objective.gradient(tape, scaled)
    clean_loss, *v = sum_over_replicas(
        [clean_loss, *part_of_sum(v, keras.tree.flatten(clean_batch)[0])]
    )
    return clean_loss, v


@contextlib.contextmanager
def nested(
    objective: Objective, batch: Batch, directions: list[Gradient], is_clean: bool = False
) -> Iterator[Alignments]:
    """Estimates alignments by nested tapes.

    Args:
        objective: The network, its losses and variables.
        batch: What the pass in this scope is on.
        directions: Such as v, each a gradient by the objective's variables.
        is_clean: Whether the pass is one on clean examples.

    Yields:
        The function that gives them, once a tape has recorded the losses.
    """
    del batch, is_clean  # The tape has all of it.
    yield lambda tape, losses: [
        align(tape, losses, objective.variables, direction) for direction in directions
    ]


@contextlib.contextmanager
def forward(
    objective: Objective, batch: Batch, directions: list[Gradient], is_clean: bool = False
) -> Iterator[Alignments]:
    """Estimates alignments in forward mode, as exactly as `nested`.

    One more pass of about twice the work of a forward call, where nested tapes take two ways back,
    and no activations are kept for it (Pearlmutter 1994, "Fast exact multiplication by the
    Hessian"). A graph is needed, which shows what forward mode cannot follow; without one, as in
    eager execution, this is `nested`, whose arguments it takes.

    Raises:
        UsageError: If losses depend on the variables through a loop, a branch or a gradient of the
            user's own.
    """
    if tf.executing_eagerly():
        with nested(objective, batch, directions, is_clean) as alignments:
            yield alignments
        return
    values = [variable.value for variable in objective.variables]
    with contextlib.ExitStack() as scope:
        found = [_Tangent(scope, objective.variables, direction) for direction in directions]

        def alignments(tape: tf.GradientTape, losses: tf.Tensor) -> list[tf.Tensor]:
            del tape
            refuse_obstacles(values, losses)
            return [one.of(losses) for one in found]

        try:
            yield alignments
        except (TypeError, AssertionError, *NO_SECOND_DERIVATIVE):
            # TensorFlow ends so in some loops and branches.
            refuse_obstacles(values)
            raise


class _Tangent:
    """The rate of change of what a pass computes as variables move along a direction."""

    def __init__(
        self, scope: contextlib.ExitStack, variables: list[keras.Variable], direction: Gradient
    ) -> None:
        pairs = _connected(variables, direction)
        # As in `align`.
        self._length = _length([part for _, part in pairs])
        self._accumulator = scope.enter_context(
            tf.autodiff.ForwardAccumulator(
                [variable.value for variable, _ in pairs],
                [_divide(part, self._length) for _, part in pairs],
            )
        )

    def of(self, losses: tf.Tensor) -> tf.Tensor:
        u = self._accumulator.jvp(losses)
        if u is None:
            raise _unconnected()
        return u * tf.cast(self._length, u.dtype)


@contextlib.contextmanager
def finite_difference(
    objective: Objective, batch: Batch, directions: list[Gradient], is_clean: bool = False
) -> Iterator[Alignments]:
    """Estimates alignments by central differences of ℓ: as `nested`, without a second derivative.

    They are taken before the pass in this scope, so that dropout draws the mask that it will draw.
    """
    found = [difference_along(objective, batch, direction, is_clean) for direction in directions]
    yield lambda tape, losses: found


def align(
    tape: tf.GradientTape, losses: tf.Tensor, variables: list[keras.Variable], v: Gradient
) -> tf.Tensor:
    """Returns u_i = ⟨∇ℓ_i, v⟩ by nested tapes.

    g(ε) = ∇_θ Σ_i ε_i ℓ_i is linear in ε, so its derivative ∂⟨g(ε), v⟩/∂ε_i = ⟨∇ℓ_i, v⟩ asks for
    no value of g: the graph keeps the forward pass and the way back through g, nothing else.

    Args:
        tape: A persistent tape that has recorded `losses`.
        losses: ℓ, shape (N,).
        variables: The variables that v was taken by.
        v: The gradient of the clean loss, as `clean_gradient` returns it.

    Returns:
        u, shape (N,), of the dtype of `losses`.

    Raises:
        UsageError: If an operation of the network has no second derivative.
    """
    pairs = _connected(variables, v)
    # A unit v keeps the products within the range of half precision; the length comes back at
    # the end.
    length = _length([part for _, part in pairs])
    epsilon = tf.zeros_like(losses)
    with tf.GradientTape(watch_accessed_variables=False) as epsilon_tape:
        epsilon_tape.watch(epsilon)
        try:
            g = tape.gradient(losses, [one.value for one, _ in pairs], output_gradients=epsilon)
        except NO_SECOND_DERIVATIVE as error:
            raise no_second_derivative(error, losses) from None
        connected = [
            (tf.convert_to_tensor(part), _divide(direction, length))
            for part, (_, direction) in zip(g, pairs, strict=True)
            if part is not None
        ]
    try:
        u = epsilon_tape.gradient(
            [part for part, _ in connected],
            epsilon,
            output_gradients=[direction for _, direction in connected],
        )
    except NO_SECOND_DERIVATIVE as error:
        raise no_second_derivative(error, losses) from None
    if u is None:
        raise _unconnected()
    return u * tf.cast(length, u.dtype)


def difference_along(
    objective: Objective, batch: Batch, v: Gradient, is_clean: bool = False
) -> tf.Tensor:
    """Returns u_i ≈ (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h, shape (N,).

    h v has length 0.003 in single precision: long enough to stand clear of rounding, short enough
    that the curvature of the loss stays below one percent of u.

    Args:
        objective: The network, its losses and variables.
        batch: `(x, y[, sample_weight])` of first dimension N.
        v: The gradient of the clean loss, as `clean_gradient` returns it.
        is_clean: Whether this is a pass on clean examples.
    """
    pairs = _connected(objective.variables, v)
    length = _length([part for _, part in pairs])
    step = 0.003 if length.dtype == tf.float32 else 1e-4
    h = tf.math.divide_no_nan(tf.cast(step, length.dtype), length)

    def losses_at(sign: float) -> tf.Tensor:
        moved = [
            (variable, variable.value + sign * tf.cast(h, part.dtype) * part)
            for variable, part in pairs
        ]
        return objective.losses(batch, moved, is_clean)

    difference = losses_at(1.0) - losses_at(-1.0)
    return tf.math.divide_no_nan(difference, tf.cast(2 * h, difference.dtype))


def _unconnected() -> UsageError:
    return UsageError(
        "The training loss does not depend on the variables that the meta-gradient is taken "
        "through: choose meta_variables='all' or others, and check that the loss uses every output."
    )


def _connected(
    variables: list[keras.Variable], v: Gradient
) -> list[tuple[keras.Variable, tf.Tensor]]:
    """The variables that a gradient has a part for, each with it."""
    return [(one, part) for one, part in zip(variables, v, strict=True) if part is not None]


def _length(parts: list[tf.Tensor]) -> tf.Tensor:
    """The Euclidean length of a gradient whose parts may differ in dtype."""
    squares = [tf.cast(tf.reduce_sum(tf.square(part)), keras.config.floatx()) for part in parts]
    return tf.sqrt(tf.add_n(squares))


def _divide(part: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(part, tf.cast(length, part.dtype))


_ESTIMATORS: dict[str, Estimator] = {
    "nested": nested,
    "forward": forward,
    "finite_difference": finite_difference,
}


def get_estimator(name: str) -> Estimator:
    """Returns the estimator of u with this name.

    Raises:
        UsageError: If there is none.
    """
    if name not in _ESTIMATORS:
        names = ", ".join(map(repr, _ESTIMATORS))
        raise UsageError(f"meta_gradient must be among {names}, got {name!r}.")
    return _ESTIMATORS[name]
