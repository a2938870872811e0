"""The meta-gradient u: how well each example's gradient agrees with that of the clean loss.

A network with parameters θ meets a training batch with losses ℓ_i and a clean batch with losses
ℓ^v_j. The paper looks ahead one step of gradient descent on the ε-weighted training loss,

    θ̂(ε) = θ − α ∇_θ Σ_i ε_i ℓ_i(θ)                                (equations 4 and 5)
    u_i = −∂/∂ε_i (1/M) Σ_j ℓ^v_j(θ̂(ε))  at ε = 0                  (equations 6 and 7)

Since θ̂(0) = θ, the chain rule leaves u_i = α ⟨∇ℓ_i(θ), v⟩ with v = ∇_θ (1/M) Σ_j ℓ^v_j(θ)
(section 3.3 derives it for a multilayer perceptron). Three forms give it, with one signature:

- `nested`: the inner tape forms g(ε) = ∇_θ Σ_i ε_i ℓ_i, the outer one differentiates ⟨g(ε), v⟩ by
  ε. Exact, and what runs.
- `look_ahead`: the equations above to the letter, θ̂ and all. The reference of the tests.
- `finite_difference`: (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h, without a second derivative.

α and any positive factor of the losses drop out when u becomes weights, so α is 1 here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.passes import observed_call, split_sample_weight
from l2rw_tf.reweighting.replicas import first_example, part_of_sum, sum_over_replicas
from l2rw_tf.reweighting.variables import MetaVariables, select_meta_variables

Batch = tuple[Any, ...]


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
        method: "nested", "finite_difference" or "look_ahead".

    Returns:
        u, float, shape (N,).

    Raises:
        UsageError: If the loss has no value per example, the network no trainable variables, an
            operation no second derivative, or an argument a value that is not possible.
    """
    form = get_meta_gradient(method)
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
        return form(network, losses, batch, clean_batch, variables)
    except tf.errors.InvalidArgumentError as error:
        raise sparse_label_error(error) or error from None


def clean_gradient(
    network: keras.Model,
    example_losses: ExampleLosses,
    clean_batch: Batch,
    variables: list[keras.Variable],
    loss_scale: tf.Tensor | float | None = None,
) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
    """Returns the clean loss (1/M) Σ_j ℓ^v_j and its gradient v by the variables.

    Args:
        network: A built network; nothing of its state changes.
        example_losses: The losses, one a clean example.
        clean_batch: `(x, y[, sample_weight])` of first dimension M.
        variables: What v is taken by.
        loss_scale: A factor that lifts half-precision gradients above rounding to 0, taken out of v
            again; by default 1024 for networks that compute in float16.

    Returns:
        The scalar clean loss, and v, a dense tensor or None (unconnected) a variable.
    """
    with tf.GradientTape() as tape:
        clean_loss = _clean_loss(network, example_losses, clean_batch)
        scaled = clean_loss * _loss_scale(network, loss_scale)
    v = _unscaled_gradient(tape, scaled, variables, _loss_scale(network, loss_scale))
    clean_loss, *v = sum_over_replicas(
        [clean_loss, *part_of_sum(v, keras.tree.flatten(clean_batch)[0])]
    )
    return clean_loss, v


class CleanReference(NamedTuple):
    """What a clean batch is to training examples that are compared with it.

    Attributes:
        loss: (1/M) Σ_j ℓ^v_j, a scalar.
        v: Its gradient, as `clean_gradient` returns it.
        losses: ℓ^v of this replica's clean examples, shape (m,).
        weight: The user's weights of them, shape (m,).
        v_of_half: The same gradient of the first, the third, ... clean example.
        u: ⟨∇ℓ^v_j, v_of_half⟩, shape (m,).
        is_held_out: Whether an example is no part of `v_of_half`, 0 or 1, shape (m,), as no
            training example is: an example agrees with any gradient that it is a part of.
    """

    loss: tf.Tensor
    v: list[tf.Tensor | None]
    losses: tf.Tensor
    weight: tf.Tensor
    v_of_half: list[tf.Tensor | None]
    u: tf.Tensor
    is_held_out: tf.Tensor


def clean_reference(
    network: keras.Model,
    example_losses: ExampleLosses,
    clean_batch: Batch,
    variables: list[keras.Variable],
    loss_scale: tf.Tensor | float | None = None,
    method: str = "nested",
) -> CleanReference:
    """Returns the clean gradient, and the losses and alignments of the clean examples themselves.

    Args:
        network: A built network; nothing of its state changes.
        example_losses: The losses, one a clean example.
        clean_batch: `(x, y[, sample_weight])` of first dimension M.
        variables: What gradients are taken by.
        loss_scale: As of `clean_gradient`.
        method: "nested" or "finite_difference".
    """
    factor = _loss_scale(network, loss_scale)
    with tf.GradientTape(persistent=True) as tape:
        losses, weight = _clean_losses(network, example_losses, clean_batch)
        weighted = losses * weight
        is_held_out = tf.cast((first_example(losses) + tf.range(tf.size(losses))) % 2, losses.dtype)
        sizes = [tf.cast(tf.size(losses), losses.dtype), tf.reduce_sum(1 - is_held_out)]
        number, number_of_half = sum_over_replicas(sizes)
        clean_loss = tf.reduce_sum(weighted) / number
        loss_of_half = tf.reduce_sum(weighted * (1 - is_held_out)) / number_of_half
        scaled, scaled_half = clean_loss * factor, loss_of_half * factor
    examples = keras.tree.flatten(clean_batch)[0]
    v, v_of_half = (
        sum_over_replicas(
            part_of_sum(_unscaled_gradient(tape, target, variables, factor), examples)
        )
        for target in (scaled, scaled_half)
    )
    if method == "nested":
        u = align(tape, losses, variables, v_of_half)
    else:
        u = difference_along(
            network, example_losses, clean_batch, variables, v_of_half, own_randomness=True
        )
    loss = sum_over_replicas(clean_loss)
    return CleanReference(loss, v, losses, weight, v_of_half, u, is_held_out)


def _loss_scale(network: keras.Model, loss_scale: tf.Tensor | float | None) -> tf.Tensor | float:
    if loss_scale is None:
        return 1024.0 if _computes_in_float16(network) else 1.0
    return loss_scale


def _unscaled_gradient(
    tape: tf.GradientTape,
    scaled: tf.Tensor,
    variables: list[keras.Variable],
    loss_scale: tf.Tensor | float,
) -> list[tf.Tensor | None]:
    return [
        None if g is None else tf.convert_to_tensor(g) / tf.cast(loss_scale, g.dtype)
        for g in tape.gradient(scaled, [variable.value for variable in variables])
    ]


def align(
    tape: tf.GradientTape,
    losses: tf.Tensor,
    variables: list[keras.Variable],
    v: list[tf.Tensor | None],
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
    pairs = [
        (variable.value, part)
        for variable, part in zip(variables, v, strict=True)
        if part is not None
    ]
    # A unit v keeps the products within the range of half precision; the length comes back at
    # the end.
    length = _length([part for _, part in pairs])
    epsilon = tf.zeros_like(losses)
    with tf.GradientTape(watch_accessed_variables=False) as epsilon_tape:
        epsilon_tape.watch(epsilon)
        try:
            g = tape.gradient(losses, [value for value, _ in pairs], output_gradients=epsilon)
        except LookupError as error:
            raise _no_second_derivative(error, losses) from None
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
    except LookupError as error:
        raise _no_second_derivative(error, losses) from None
    if u is None:
        raise UsageError(
            "The training loss does not depend on the variables that the meta-gradient is taken "
            "through: choose meta_variables='all' or others, and check that the loss uses every "
            "output."
        )
    return u * tf.cast(length, u.dtype)


def _nested(network, example_losses, batch, clean_batch, variables) -> tf.Tensor:
    """Equations 6 and 7 by nested tapes at ε = 0."""
    _, v = clean_gradient(network, example_losses, clean_batch, variables)
    with tf.GradientTape(persistent=True) as tape:
        losses = _training_losses(network, example_losses, batch)
    return align(tape, losses, variables, v)


def _look_ahead(network, example_losses, batch, clean_batch, variables) -> tf.Tensor:
    """Equations 4 to 7 to the letter, with α = 1."""
    epsilon = tf.zeros(tf.shape(keras.tree.flatten(batch[1])[0])[:1], keras.config.floatx())
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(epsilon)
        with tf.GradientTape() as inner:
            weighted = tf.reduce_sum(epsilon * _training_losses(network, example_losses, batch))
        g = inner.gradient(weighted, [variable.value for variable in variables])
        g = sum_over_replicas([None if part is None else tf.convert_to_tensor(part) for part in g])
        ahead = [
            (variable, variable.value - part)
            for variable, part in zip(variables, g, strict=True)
            if part is not None
        ]
        clean_loss = _clean_loss(network, example_losses, clean_batch, ahead)
    return -outer.gradient(clean_loss, epsilon)


def _finite_difference(network, example_losses, batch, clean_batch, variables) -> tf.Tensor:
    """Central differences of ℓ along v: two more forward passes and no second derivative."""
    _, v = clean_gradient(network, example_losses, clean_batch, variables)
    return difference_along(network, example_losses, batch, variables, v)


def difference_along(
    network: keras.Model,
    example_losses: ExampleLosses,
    batch: Batch,
    variables: list[keras.Variable],
    v: list[tf.Tensor | None],
    own_randomness: bool = False,
) -> tf.Tensor:
    """Returns u_i ≈ (ℓ_i(θ + h v) − ℓ_i(θ − h v)) / 2h.

    h v has length 0.003 in single precision: long enough to stand clear of rounding, short enough
    that the curvature of the loss stays below one percent of u.

    Args:
        network: A built network; nothing of its state changes.
        example_losses: The losses, one a training example.
        batch: `(x, y[, sample_weight])` of first dimension N.
        variables: The variables that v was taken by.
        v: The gradient of the clean loss, as `clean_gradient` returns it.
        own_randomness: As of `passes.observed_call`: whether this is a pass on clean examples.

    Returns:
        u, shape (N,).
    """
    pairs = [
        (variable, part) for variable, part in zip(variables, v, strict=True) if part is not None
    ]
    length = _length([part for _, part in pairs])
    step = 0.003 if length.dtype == tf.float32 else 1e-4
    h = tf.math.divide_no_nan(tf.cast(step, length.dtype), length)

    def losses_at(sign: float) -> tf.Tensor:
        moved = [
            (variable, variable.value + sign * tf.cast(h, part.dtype) * part)
            for variable, part in pairs
        ]
        return _training_losses(network, example_losses, batch, moved, own_randomness)

    difference = losses_at(1.0) - losses_at(-1.0)
    return tf.math.divide_no_nan(difference, tf.cast(2 * h, difference.dtype))


def _training_losses(network, example_losses, batch, values=(), own_randomness=False) -> tf.Tensor:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    _, within = split_sample_weight(sample_weight)
    return example_losses(y, observed_call(network, x, values, own_randomness), within)


def _clean_loss(network, example_losses, clean_batch, values=()) -> tf.Tensor:
    """This replica's part of (1/M) Σ_j s_j ℓ^v_j."""
    losses, weight = _clean_losses(network, example_losses, clean_batch, values)
    number = sum_over_replicas(tf.cast(tf.size(losses), losses.dtype))
    return tf.reduce_sum(losses * weight) / number


def _clean_losses(network, example_losses, clean_batch, values=()) -> tuple[tf.Tensor, tf.Tensor]:
    """ℓ^v_j and s_j; the pass draws a dropout mask of its own."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(clean_batch)
    weight, within = split_sample_weight(sample_weight)
    losses = example_losses(y, observed_call(network, x, values, own_randomness=True), within)
    if weight is None:
        return losses, tf.ones_like(losses)
    return losses, tf.cast(weight, losses.dtype)


def _length(parts: list[tf.Tensor]) -> tf.Tensor:
    """The Euclidean length of a gradient whose parts may differ in dtype."""
    squares = [tf.cast(tf.reduce_sum(tf.square(part)), keras.config.floatx()) for part in parts]
    return tf.sqrt(tf.add_n(squares))


def _divide(part: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(part, tf.cast(length, part.dtype))


def _computes_in_float16(network: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in network._flatten_layers())


def _no_second_derivative(error: LookupError, losses: tf.Tensor) -> UsageError:
    missing = re.search(r"\b(\w+?)(Grad)+\b", str(error))
    operation = missing[1] if missing else "one"
    return UsageError(
        f"The operation {operation}{_places_of(operation, losses)} has no second derivative: "
        "build the layer without it (LSTM and GRU on a GPU: use_cudnn=False), or choose "
        "meta_gradient='finite_difference', which needs none."
    )


def _places_of(operation: str, losses: tf.Tensor) -> str:
    """Says in which layers an operation stands, which a graph knows by the paths in its names."""
    if tf.executing_eagerly():
        return ""
    paths = {
        one.name.rpartition("/")[0]
        for one in losses.graph.get_operations()
        if one.type == operation
    }
    return f" (of {', '.join(sorted(paths))})" if paths else ""


def sparse_label_error(error: tf.errors.InvalidArgumentError) -> UsageError | None:
    """Turns TensorFlow's complaint about a sparse label into a sentence, and others into None."""
    complaint = re.search(
        r"label value of (\S+) which is outside the valid range of (\[.*?\))", str(error)
    )
    if complaint is None:
        return None
    return UsageError(
        f"A batch holds the label {complaint[1]}, outside the network's classes {complaint[2]}: "
        "labels must be whole numbers from 0 to the number of classes minus 1."
    )


_FORMS: dict[str, Callable[..., tf.Tensor]] = {
    "nested": _nested,
    "finite_difference": _finite_difference,
    "look_ahead": _look_ahead,
}


def get_meta_gradient(method: str) -> Callable[..., tf.Tensor]:
    """Returns the form of the meta-gradient with this name.

    Raises:
        UsageError: If there is none.
    """
    if method not in _FORMS:
        raise UsageError(f"The meta-gradient must be one of {', '.join(_FORMS)}, got {method!r}.")
    return _FORMS[method]
