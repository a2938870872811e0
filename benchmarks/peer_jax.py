"""The step in JAX: `python -m benchmarks.peer_jax NETWORK FORM CLEAN_BATCH START`.

FORM is "plain" or "forward"; START is the file of parameters and batches that
`benchmarks.peer_keras` writes. Networks are functions of their parameters, in the order of Keras's.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peer_process import serve

Parameters = Sequence[jax.Array]
# A moving mean and a moving variance for each batch normalization.
Moving = Sequence[jax.Array]


def _convolution(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)


def _max_pool(x: jax.Array) -> jax.Array:
    """3x3 by strides of 2, padded as Keras pads; on a CPU a quarter faster than reduce_window."""
    size = -(-x.shape[1] // 2)
    end = 2 * size - 1
    missing = end + 2 - x.shape[1]
    edges = [(0, 0), *[(missing // 2, -(-missing // 2))] * 2, (0, 0)]
    x = jnp.pad(x, edges, constant_values=-jnp.inf)
    corners = itertools.product(range(3), repeat=2)
    return functools.reduce(
        jnp.maximum, (x[:, i : i + end : 2, j : j + end : 2] for i, j in corners)
    )


def lenet(parameters: Parameters, x: jax.Array, moving: Moving) -> tuple[jax.Array, Moving]:
    """The project's LeNet; it has no batch normalization."""
    rest = iter(parameters)
    for _ in range(3):
        x = jax.nn.relu(_convolution(x, next(rest)) + next(rest))
        x = _max_pool(x)
    x = jax.nn.relu(x.reshape(len(x), -1) @ next(rest) + next(rest))
    return x @ next(rest) + next(rest), moving


def resnet32(parameters: Parameters, x: jax.Array, moving: Moving) -> tuple[jax.Array, Moving]:
    """The project's ResNet-32; returns moved averages beside the logits."""
    rest, averages, moved = iter(parameters), iter(moving), []

    def convolution(x: jax.Array, stride: int = 1) -> jax.Array:
        x = _convolution(x, next(rest), stride)
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        moved.extend(0.9 * next(averages) + 0.1 * value for value in (mean, variance))
        return (x - mean) * (lax.rsqrt(variance + 1e-5) * next(rest)) + next(rest)

    x = jax.nn.relu(convolution(x))
    for width in (16, 32, 64):
        for _ in range(5):
            more = width - x.shape[-1]
            hidden = convolution(jax.nn.relu(convolution(x, 2 if more else 1)))
            if more:
                x = jnp.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(more // 2, more // 2)])
            x = jax.nn.relu(x + hidden)
    return x.mean((1, 2)) @ next(rest) + next(rest), moved


NETWORKS = {"lenet": lenet, "resnet32": resnet32}


# What a form makes of the losses (with moved averages) and of the clean loss, both functions of the
# parameters: what is checked, the gradient of the update, moved averages.
Found = tuple[jax.Array, Parameters, Moving]


def plain(losses: Callable, clean_loss: Callable, parameters: Parameters) -> Found:
    """The gradient of the mean loss."""
    del clean_loss
    values, back, moved = jax.vjp(losses, parameters, has_aux=True)
    (gradient,) = back(jnp.full_like(values, 1 / len(values)))
    return values, gradient, moved


def forward(losses: Callable, clean_loss: Callable, parameters: Parameters) -> Found:
    """u is the tangent of the losses along v; XLA computes what both passes share once."""
    v = jax.grad(clean_loss)(parameters)
    _, u, _ = jax.jvp(losses, (parameters,), (v,), has_aux=True)
    _, back, moved = jax.vjp(losses, parameters, has_aux=True)
    w = jnp.maximum(u, 0)
    (gradient,) = back(jnp.where(w.sum() > 0, w / w.sum(), 0))
    return u, gradient, moved


FORMS = {"plain": plain, "forward": forward}


@functools.partial(jax.jit, static_argnames=("network", "form"), donate_argnames="state")
def step(
    state: tuple[Parameters, Parameters, Moving],
    batch: tuple[jax.Array, jax.Array],
    clean_batch: tuple[jax.Array, jax.Array],
    *,
    network: str,
    form: str,
) -> tuple[tuple[Parameters, Parameters, Moving], jax.Array]:
    """A step of SGD with momentum; returns the new state and what is checked."""
    parameters, momenta, moving = state

    def losses(
        parameters: Parameters, batch: tuple[jax.Array, jax.Array] = batch
    ) -> tuple[jax.Array, Moving]:
        x, y = batch
        logits, moved = NETWORKS[network](parameters, x, moving)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0], moved

    def clean_loss(parameters: Parameters) -> jax.Array:
        return losses(parameters, clean_batch)[0].mean()

    checked, gradient, moving = FORMS[form](losses, clean_loss, parameters)
    momenta = [0.9 * m - 1e-3 * g for m, g in zip(momenta, gradient, strict=True)]
    parameters = [theta + m for theta, m in zip(parameters, momenta, strict=True)]
    return (parameters, momenta, moving), checked


class Steps:
    """Steps on one batch, by SGD with momentum."""

    def __init__(self, network: str, form: str, clean: int, start: str) -> None:
        with np.load(start) as file:
            arrays = {name: jnp.asarray(file[name]) for name in file.files}
        number = sum(name.startswith("parameter") for name in arrays)
        parameters = [arrays[f"parameter{i}"] for i in range(number)]
        self.batch = arrays["x"], arrays["y"]
        self.clean_batch = arrays["x_clean"][:clean], arrays["y_clean"][:clean]
        momenta = [jnp.zeros_like(one) for one in parameters]
        gammas = parameters[1:-2:3] if network == "resnet32" else []
        moving = [jnp.full_like(gamma, value) for gamma in gammas for value in (0.0, 1.0)]
        self.state, self.checked = (parameters, momenta, moving), jnp.zeros(0)
        self._step = functools.partial(step, network=network, form=form)

    def take(self, steps: int) -> None:
        for _ in range(steps):
            self.state, self.checked = self._step(self.state, self.batch, self.clean_batch)
        jax.block_until_ready(self.state)

    def check(self) -> Sequence[float]:
        self.take(1)
        return self.checked.tolist()

    def gpu_bytes(self) -> int | None:
        (device, *_) = jax.local_devices()
        return device.memory_stats()["peak_bytes_in_use"] if device.platform == "gpu" else None


if __name__ == "__main__":
    network, form, clean, start = sys.argv[1:]
    serve(Steps(network, form, int(clean), start))
