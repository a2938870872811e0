"""Examples a second of the input pipeline alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples
from l2rw_tf.data.preprocessing import Preprocessing


def pipeline_table() -> Iterator[str]:
    """Examples a second of the input pipeline alone."""
    yield "| images | augmentation | examples a second |"
    yield "|---|---|---|"
    for shape, augment in (
        ((28, 28, 1), "none"),
        ((28, 28, 1), "crop"),
        ((32, 32, 3), "crop_flip"),
    ):
        n = 10_000
        x = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
        examples = Examples(x=x, y=np.zeros(n, np.int64), ids=np.arange(n))
        batches = iter(
            pipeline.training_batches(
                examples,
                Preprocessing.fit(examples, "image"),
                batch_size=100,
                seed=0,
                augment=augment,
            )
        )
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(100):
                next(batches)
            rates.append(100 * 100 / (time.perf_counter() - begin))
        yield f"| {shape} | {augment} | {statistics.median(rates):,.0f} |"
