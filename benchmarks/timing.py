"""Time steps of several variants in turn, so that whatever slows the machine slows all alike."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping

Take = Callable[[int], None]
"""Takes so many steps and returns when the device has done them."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one variant.

    Attributes:
        first: The first step: tracing, compilation and the step itself.
        median: Of the steps after warm-up.
        low: The lower quartile of these.
        high: The upper quartile.
    """

    first: float
    median: float
    low: float
    high: float


def interleave(
    takes: Mapping[str, Take], *, samples: int, warm_up: int, steps_a_sample: int = 1
) -> dict[str, Timing]:
    """Times all variants in rounds, each round in an order of its own.

    Args:
        takes: The variants by name.
        samples: Rounds that count.
        warm_up: Rounds before these, after a first step of each.
        steps_a_sample: Steps between two looks at the clock. On a GPU more than one, since `fit`
            does not wait for each either.

    Returns:
        The timing of each variant, of one step.
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
