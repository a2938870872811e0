"""The meta-gradient u: how well each example's gradient is aligned with that of the clean loss.

A network with parameters θ has losses ℓ_i on a training batch and losses ℓ^v_j on a clean batch.
The paper looks ahead one step of gradient descent on the ε-weighted training loss,

    θ̂(ε) = θ − α ∇_θ Σ_i ε_i ℓ_i(θ)                                (equations 4 and 5)
    u_i = −∂/∂ε_i (1/M) Σ_j ℓ^v_j(θ̂(ε))  at ε = 0                  (equations 6 and 7)

Since θ̂(0) = θ, the chain rule leaves u_i = α ⟨∇ℓ_i(θ), v⟩ with v = ∇_θ (1/M) Σ_j ℓ^v_j(θ)
(section 3.3 derives it for a multilayer perceptron). α and any positive factor of the losses drop
out when u becomes weights, so α is 1 here. Three estimators of ⟨∇ℓ_i, v⟩ share one signature:

- `nested`: the inner tape computes g(ε) = ∇_θ Σ_i ε_i ℓ_i, the outer tape differentiates
  ⟨g(ε), v⟩ with respect to ε. Exact, and the default.
- `forward`: a forward accumulator carries the derivative of ℓ_i(θ + t v) with respect to t, which
  is ⟨∇ℓ_i, v⟩, through the forward pass. Exact, but does not support loops.
- `finite_difference`: (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h; needs no second derivative.

The tests compare them with the literal equations, including θ̂.
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

# Maps a persistent tape and the losses (N,) that it recorded to u, shape (N,).
Alignment = Callable[[tf.GradientTape, tf.Tensor], tf.Tensor]

# Maps (objective, batch, v) to a scope for the pass that computes the losses.
Estimator = Callable[[Objective, Batch, Gradient], AbstractContextManager[Alignment]]


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
    """Returns the signed meta-gradient u of one batch, for custom training loops.

    Equations 6 and 7 of the paper with α = 1: u_i = ⟨∇ℓ_i, v⟩ with v the gradient of the mean clean
    loss. Both passes run in training mode but change no state, neither moving averages nor dropout
    seeds. `normalize` turns u into example weights:

    ```python
    w = l2rw_tf.normalize(l2rw_tf.meta_gradient(network, loss, (x, y), (x_clean, y_clean)))
    ```

    Args:
        network: Any `keras.Model`; built with `x` if it is not built yet.
        loss: What `Model.compile(loss=...)` accepts, with a value per example.
        batch: `(x, y)` or `(x, y, sample_weight)`, each of first dimension N. A rank-1
            `sample_weight` does not affect u; pass it to `normalize`.
        clean_batch: `(x, y)` or `(x, y, sample_weight)`, each of first dimension M;
            `sample_weight` weights the mean of the clean losses.
        loss_weights: What `Model.compile(loss_weights=...)` accepts.
        meta_variables: "all", "last_block", "head" or a function of a variable, as of
            `ReweightingModel`.
        method: "nested", "forward" or "finite_difference".

    Returns:
        u, float, shape (N,).

    Raises:
        UsageError: If the loss has no value per example, the network has no trainable variables, an
            operation has no second derivative or is not supported by forward mode, or an argument
            is invalid.
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
        objective = Objective(network, losses, variables)
        u, _ = u_of_batch(objective, batch, clean_batch, estimator)
        return u
    except tf.errors.InvalidArgumentError as error:
        raise sparse_label_error(error) or error from None


def u_of_batch(
    objective: Objective, batch: Batch, clean_batch: Batch, estimator: Estimator
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns u and ℓ of one batch, each of shape (N,), without changing any state."""
    _, v = clean_gradient(objective, clean_batch)
    with (
        estimator(objective, batch, v) as alignment,
        watching(objective.variables, persistent=True) as tape,
    ):
        losses = objective.losses(batch)
    return alignment(tape, losses), losses


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
def nested(objective: Objective, batch: Batch, v: Gradient) -> Iterator[Alignment]:
    """Computes u with nested tapes.

    Args:
        objective: The network, its losses and variables.
        batch: The batch of the pass in this scope.
        v: The gradient of the clean loss, as `clean_gradient` returns it.

    Yields:
        A function of the tape and the losses that it recorded, which returns u.
    """
    del batch  # The tape records the pass.
    yield lambda tape, losses: align(tape, losses, objective.variables, v)


@contextlib.contextmanager
def forward(objective: Objective, batch: Batch, v: Gradient) -> Iterator[Alignment]:
    """Computes u in forward mode, as exactly as `nested`; takes the same arguments.

    The tangents cost about twice a forward pass, where nested tapes need two backward passes, and
    keep no activations (Pearlmutter 1994, "Fast exact multiplication by the Hessian"). Operations
    that forward mode does not support can only be found in a graph, so eager execution uses
    `nested`.

    Raises:
        UsageError: If losses depend on the variables through a loop, a branch or a custom gradient.
    """
    if tf.executing_eagerly():
        with nested(objective, batch, v) as without_graph:
            yield without_graph
        return
    values = [variable.value for variable in objective.variables]
    pairs = _connected(objective.variables, v)
    # As in `align`.
    length = _length([part for _, part in pairs])
    accumulator = tf.autodiff.ForwardAccumulator(
        [variable.value for variable, _ in pairs], [_divide(part, length) for _, part in pairs]
    )

    def alignment(tape: tf.GradientTape, losses: tf.Tensor) -> tf.Tensor:
        del tape
        refuse_obstacles(values, losses)
        u = accumulator.jvp(losses)
        if u is None:
            raise _unconnected()
        return u * tf.cast(length, u.dtype)

    try:
        with accumulator:
            yield alignment
    except (TypeError, AssertionError, *NO_SECOND_DERIVATIVE):
        # TensorFlow raises these in some loops and branches.
        refuse_obstacles(values)
        raise


@contextlib.contextmanager
def finite_difference(objective: Objective, batch: Batch, v: Gradient) -> Iterator[Alignment]:
    """Estimates u by central differences of ℓ; takes the arguments of `nested`.

    The differences are computed before the pass in this scope, with the same dropout mask.
    """
    u = difference_along(objective, batch, v)
    yield lambda tape, losses: u


def align(
    tape: tf.GradientTape, losses: tf.Tensor, variables: list[keras.Variable], v: Gradient
) -> tf.Tensor:
    """Returns u_i = ⟨∇ℓ_i, v⟩, computed with nested tapes.

    g(ε) = ∇_θ Σ_i ε_i ℓ_i is linear in ε, so its derivative ∂⟨g(ε), v⟩/∂ε_i = ⟨∇ℓ_i, v⟩ needs no
    value of g: the graph keeps only the forward pass and the backward pass through g.

    Args:
        tape: A persistent tape that has recorded `losses`.
        losses: ℓ, shape (N,).
        variables: The variables of the gradient v.
        v: The gradient of the clean loss, as `clean_gradient` returns it.

    Returns:
        u, shape (N,), of the dtype of `losses`.

    Raises:
        UsageError: If an operation of the network has no second derivative.
    """
    pairs = _connected(variables, v)
    # A unit v keeps the products within the range of half precision; u is scaled back at the end.
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


def difference_along(objective: Objective, batch: Batch, v: Gradient) -> tf.Tensor:
    """Returns u_i ≈ (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h, shape (N,).

    h v has length 0.003 in single precision: large enough to exceed rounding errors, and so small
    that the error due to the curvature of the loss stays below 1% of u.

    Args:
        objective: The network, its losses and variables.
        batch: `(x, y[, sample_weight])` of first dimension N.
        v: The gradient of the clean loss, as `clean_gradient` returns it.
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
        return objective.losses(batch, moved)

    difference = losses_at(1.0) - losses_at(-1.0)
    return tf.math.divide_no_nan(difference, tf.cast(2 * h, difference.dtype))


def _unconnected() -> UsageError:
    return UsageError(
        "The training loss does not depend on the variables that meta_variables selects: choose "
        "meta_variables='all' or others, and check that the loss uses every output."
    )


def _connected(
    variables: list[keras.Variable], v: Gradient
) -> list[tuple[keras.Variable, tf.Tensor]]:
    """Returns (variable, gradient) for each variable that has a gradient."""
    return [(one, part) for one, part in zip(variables, v, strict=True) if part is not None]


def _length(parts: list[tf.Tensor]) -> tf.Tensor:
    """Returns the Euclidean norm of a gradient whose parts may differ in dtype."""
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
        raise UsageError(f"meta_gradient must be one of {names}, got {name!r}.")
    return _ESTIMATORS[name]
