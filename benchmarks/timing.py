"""Times steps of several variants in turn, so that other load slows all of them alike."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping

Take = Callable[[int], None]
"""Takes the given number of steps and returns when the device has finished them."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of one variant, in seconds per step.

    Attributes:
        first: The first step, with tracing and compilation.
        median: The median after warm-up.
        low: The lower quartile after warm-up.
        high: The upper quartile after warm-up.
    """

    first: float
    median: float
    low: float
    high: float


def interleave(
    takes: Mapping[str, Take], *, samples: int, warm_up: int, steps_a_sample: int = 1
) -> dict[str, Timing]:
    """Times all variants in rounds, each round in another random order.

    Args:
        takes: The variants by name.
        samples: Number of measured rounds.
        warm_up: Number of rounds before these, after a first step of each variant.
        steps_a_sample: Steps per measurement. Use more than one on a GPU, since `fit` does not wait
            for each step either.

    Returns:
        The timing of each variant.
    """
    first = {name: _seconds(take, 1) for name, take in takes.items()}
    seconds: dict[str, list[float]] = {name: [] for name in takes}
    for round_ in range(warm_up + samples):
        for name in random.Random(round_).sample(list(takes), len(takes)):
            taken = _seconds(takes[name], steps_a_sample)
            if round_ >= warm_up:
                seconds[name].append(taken)
    timings = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        timings[name] = Timing(first[name], median, low, high)
    return timings


def _seconds(take: Take, steps: int) -> float:
    begin = time.perf_counter()
    take(steps)
    return (time.perf_counter() - begin) / steps
