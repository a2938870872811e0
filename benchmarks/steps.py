"""The cost of a step by network, variant, compilation, precision, batch size and depth."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence

import keras

from benchmarks.keras_steps import Variant, keras_step
from benchmarks.timing import Take, Timing, interleave


def on_gpu() -> bool:
    """Returns whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def batch_size(network: str) -> int:
    """Returns the training batch size: 100, or 8 for wide networks on a CPU."""
    return 8 if network.startswith("wrn") and not on_gpu() else 100


def steps_table(
    networks: Sequence[str],
    variants: Sequence[Variant],
    policies: Sequence[str],
    jit_compile: Sequence[str],
    seconds: float,
    **rounds: int,
) -> Iterator[str]:
    """Yields the table of the cost of a step.

    Args:
        networks: Names of networks.
        variants: Variants of TensorFlow's step; the others are compared with the first.
        policies: Names of Keras's dtype policies.
        jit_compile: Values to measure, of "auto", "true" and "false".
        seconds: Networks that would start later than this are left out; 0 for no limit.
        **rounds: Arguments of `interleave`.
    """
    begin = time.perf_counter()
    yield "| network | batch | variant | ms per step | quartiles | times plain | first step s |"
    yield "|---|---|---|---|---|---|---|"
    for jit, policy, name in itertools.product(jit_compile, policies, networks):
        label = ", ".join([name, *_unusual(policy, jit)])
        if seconds and time.perf_counter() - begin > seconds:
            yield f"| {label} | | left out: no time left | | | | |"
            continue
        timings = interleave(_takes(name, variants, policy, jit), **rounds)
        yield from _rows(label, batch_size(name), variants, timings)


def _unusual(policy: str, jit: str) -> list[str]:
    words = {"true": ["XLA"], "false": ["no XLA"]}.get(jit, [])
    return [policy, *words] if policy != "float32" else words


def _takes(name: str, variants: Sequence[Variant], policy: str, jit: str) -> dict[str, Take]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return {str(one): keras_step(name, batch_size(name), one, jit) for one in variants}
    finally:
        keras.config.set_dtype_policy(before)


def _rows(
    label: str, batch: int, variants: Sequence[Variant], timings: dict[str, Timing]
) -> Iterator[str]:
    first = variants[0]
    # Each variant is compared with the first one, with the same `size_known` if that was measured.
    beside = {
        str(one): str(dataclasses.replace(first, size_known=one.size_known)) for one in variants
    }
    for variant, timing in timings.items():
        plain = timings.get(beside.get(variant, ""), timings[str(first)]).median
        yield (
            f"| {label} | {batch} | {variant} | {1e3 * timing.median:.2f} | "
            f"{1e3 * timing.low:.2f} to {1e3 * timing.high:.2f} | {timing.median / plain:.2f} | "
            f"{timing.first:.1f} |"
        )


def growth_table(**rounds: int) -> Iterator[str]:
    """Yields the table of step times by training batch, clean batch and depth.

    Args:
        **rounds: Arguments of `interleave`.
    """
    yield "| network | batch | clean batch | plain ms | exact ms | times plain |"
    yield "|---|---|---|---|---|---|"
    cases = [("lenet", batch, 100) for batch in (25, 50, 100, 200, 400)]
    cases += [("lenet", 100, clean) for clean in (1, 10, 50, 200)]
    cases += [(f"resnet{depth}", 25, 25) for depth in (20, 32, 44, 56)]
    for name, batch, clean in cases:
        takes = {
            "plain": keras_step(name, batch, Variant("plain", 0)),
            "exact": keras_step(name, batch, Variant("exact", clean)),
        }
        timings = interleave(takes, **rounds)
        plain, exact = timings["plain"].median, timings["exact"].median
        yield (
            f"| {name} | {batch} | {clean} | {1e3 * plain:.2f} | {1e3 * exact:.2f} | "
            f"{exact / plain:.2f} |"
        )


def record_table(networks: Sequence[str]) -> Iterator[str]:
    """Yields the cost of the record of the examples: 200 steps with it and without, in turn."""
    yield "| network | exact ms | with the record | times |"
    yield "|---|---|---|---|"
    for name in networks:
        takes = {
            kind: keras_step(name, batch_size(name), Variant(kind, batch_size(name)))
            for kind in ("exact", "tracked")
        }
        timings = interleave(takes, samples=200, warm_up=5)
        exact, tracked = timings["exact"].median, timings["tracked"].median
        yield f"| {name} | {1e3 * exact:.2f} | {1e3 * tracked:.2f} | {tracked / exact:.3f} |"


def executions_table(networks: Sequence[str], **rounds: int) -> Iterator[str]:
    """Yields the table of step times by `steps_per_execution`."""
    yield "| network | variant | steps_per_execution | ms per step |"
    yield "|---|---|---|---|"
    for name in networks:
        cases = itertools.product(("plain", "exact"), (1, 10, 50))
        takes = {
            f"{kind} | {steps}": keras_step(
                name, batch_size(name), Variant(kind, 100 * (kind != "plain")), "auto", steps
            )
            for kind, steps in cases
        }
        for case, timing in interleave(takes, **{**rounds, "steps_a_sample": 50}).items():
            yield f"| {name} | {case} | {1e3 * timing.median:.2f} |"
