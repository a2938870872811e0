"""Throughput of the input pipeline alone, in examples per second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import examples_from
from l2rw_tf.data.preprocessing import Preprocessing

_BATCH = 100
_BATCHES = 100
_EXAMPLES = 10_000


def pipeline_table() -> Iterator[str]:
    """Yields the table of median rates by kind of data and augmentation."""
    yield "| examples | augmentation | examples per second |"
    yield "|---|---|---|"
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((28, 28, 1), "none"),
        ((28, 28, 1), "crop"),
        ((32, 32, 3), "crop_flip"),
        ((100,), "none"),
    ]
    for shape, augment in cases:
        batches = iter(_training_batches(shape, augment))
        rates = []
        for _ in range(7):
            begin = time.perf_counter()
            for _ in range(_BATCHES):
                next(batches)
            rates.append(_BATCHES * _BATCH / (time.perf_counter() - begin))
        # The first round fills buffers.
        yield f"| {'x'.join(map(str, shape))} | {augment} | {statistics.median(rates[1:]):,.0f} |"


def _training_batches(shape: tuple[int, ...], augment: Any) -> Any:
    generator = np.random.default_rng(0)
    if len(shape) == 3:
        kind, x = "image", generator.integers(0, 256, (_EXAMPLES, *shape), np.uint8)
    else:
        kind, x = "table", generator.normal(size=(_EXAMPLES, *shape)).astype(np.float32)
    examples = examples_from(x, np.zeros(_EXAMPLES))
    return pipeline.training_batches(
        examples, Preprocessing.fit(examples, kind), batch_size=_BATCH, seed=0, augment=augment
    )
