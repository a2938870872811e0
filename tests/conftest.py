"""Fixtures of several test files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from l2rw_tf.data import examples, prepared_data


@pytest.fixture
def float64() -> Iterator[None]:
    """Keras in double precision for the length of a test."""
    import keras

    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        # Keras remembers the policy that it made of the first floatx.
        keras.config.set_dtype_policy(dtype)
        if dtype == "float64":
            yield


@pytest.fixture
def blobs(monkeypatch) -> examples.Source:
    """Three well separated clouds of points, which every data set's name stands for."""
    random = np.random.default_rng(0)

    def part(n: int) -> examples.Examples:
        y = np.arange(n) % 3
        x = random.normal(size=(n, 4)) + 4 * np.eye(4)[y]
        return examples.examples_from(x.astype(np.float32), y)

    source = examples.Source(
        name="blobs",
        train=part(130),
        test=part(60),
        class_names=("a", "b", "c"),
        kind="table",
        feature_names=("w", "x", "y", "z"),
    )
    monkeypatch.setattr(prepared_data.sources, "load", lambda dataset, **where: source)
    return source
