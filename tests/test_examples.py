"""Every script in examples/: it runs and learns; with all weights equal, it is plain Keras."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import l2rw_tf
from tests.equal_weights import Equal

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
KERAS = (
    "checkpoint",
    "gradient_accumulation",
    "keras_hub_backbone",
    "keras_hub_task",
    "lora",
    "mixed_precision",
    "several_outputs",
    "tabular_feature_space",
    "text_transformer",
    "transfer_learning",
)
OWN_LOOPS = ("own_training_loop",)
# The epsilon of float16; all others compute in float32.
TOLERANCE = {"mixed_precision": 1e-3}


def sgd(optimizer):
    return keras.optimizers.SGD(
        0.05, gradient_accumulation_steps=optimizer.gradient_accumulation_steps
    )


@keras.saving.register_keras_serializable(package="tests")
class EqualWeights(l2rw_tf.ReweightingModel):
    def __init__(self, network, **kwargs):
        super().__init__(network, **kwargs | {"weighting": Equal()})

    def compile(self, optimizer, *args, **kwargs):
        super().compile(sgd(optimizer), *args, **kwargs)

    def fit(self, *args, **kwargs):
        return super().fit(*args, **kwargs, shuffle=False)


class Plain:
    """A network by itself, given what a `ReweightingModel` is given."""

    def __init__(self, network):
        self.network = network

    def compile(self, optimizer, *args, **kwargs):
        self.network.compile(sgd(optimizer), *args, **kwargs)

    def fit(self, *args, clean_data, clean_batch_size=None, track_examples=False, **kwargs):
        return self.network.fit(*args, **kwargs, shuffle=False)

    def evaluate(self, *args, **kwargs):
        return self.network.evaluate(*args, **kwargs)


@pytest.fixture
def example(request, monkeypatch):
    if request.param.startswith("keras_hub"):
        pytest.importorskip("keras_hub")
    monkeypatch.syspath_prepend(EXAMPLES)
    keras.utils.set_random_seed(0)
    yield importlib.import_module(request.param)
    del sys.modules[request.param]


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*KERAS, *OWN_LOOPS}


@pytest.mark.parametrize("example", OWN_LOOPS, indirect=True)
def test_an_own_loop_learns(example):
    network = example.main(epochs=5)
    x, y = example.make_data()[-1]
    assert np.mean(network.predict(x, verbose=0).argmax(1) == y) > 0.6


@pytest.mark.filterwarnings("ignore:.*overflow")
@pytest.mark.parametrize("example", KERAS, indirect=True)
def test_an_example_runs_and_with_equal_weights_is_plain_keras(example, monkeypatch):
    load_model = keras.saving.load_model

    def train(model_class):
        keras.utils.set_random_seed(0)
        monkeypatch.setattr(l2rw_tf, "ReweightingModel", model_class)
        epochs = 2 if example.__name__ == "checkpoint" else 1
        return example.main(epochs=epochs).network.get_weights()

    equal = train(EqualWeights)
    monkeypatch.setattr(keras.saving, "load_model", lambda path: Plain(load_model(path)))
    plain = train(Plain)
    tolerance = TOLERANCE.get(example.__name__, 1e-6)
    for a, b in zip(equal, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)
