from __future__ import annotations

import keras
import pytest


@pytest.fixture
def network():
    """Three numbers in, four logits out."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(4, bias_initializer="normal")(inputs))
