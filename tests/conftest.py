"""Fixtures of several test files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


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
