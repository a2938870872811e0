"""Networks of the user's own: from keras.applications, a file, or a function."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types

import keras
import numpy as np
import pytest

from l2rw_tf import networks
from l2rw_tf.errors import UsageError
from l2rw_tf.networks import keras_applications, keras_archive

RANDOM = np.random.default_rng(0)
MOBILE_NET = "keras.applications:MobileNetV2"


def build(name, input_shape=(8, 8, 3), num_classes=3, **arguments):
    return networks.get(name, input_shape=input_shape, num_classes=num_classes, **arguments)


def classifier(*last, input_shape=(8, 8, 3), dtype="float32"):
    return keras.Sequential(
        [
            keras.Input(input_shape, dtype=dtype),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            *(last or [keras.layers.Dense(3)]),
        ]
    )


@pytest.fixture
def function(monkeypatch):
    """Puts a function into a module and returns the network's name."""

    def named(make):
        module = types.ModuleType("users_networks")
        module.make = make
        monkeypatch.setitem(sys.modules, "users_networks", module)
        return "users_networks:make"

    return named


def preprocessing_modules():
    for module in pkgutil.iter_modules(keras.applications.__path__):
        found = importlib.import_module(f"keras.applications.{module.name}")
        if hasattr(found, "preprocess_input") and module.name != "imagenet_utils":
            yield found


def test_the_preprocessing_is_that_of_keras_applications():
    images = RANDOM.integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    modules = list(preprocessing_modules())
    assert len(modules) >= 12
    for module in modules:
        inputs = keras.Input((4, 4, 3))
        outputs = keras_applications._preprocessed(inputs, module.preprocess_input)
        expected = module.preprocess_input(images.copy())
        # Some change nothing, and Keras 3.13 wants an operation between inputs and outputs.
        found = keras.Model(inputs, keras.layers.Identity()(outputs))(images)
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=module.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_keras_applications_gets_a_head(channels, tmp_path):
    arguments = {"input_shape": (32, 32, channels), "network_weights": "none", "dropout": 0.2}
    network = build(MOBILE_NET, weight_decay=1e-3, **arguments)
    images = RANDOM.integers(0, 256, (2, 32, 32, channels)).astype(np.uint8)
    assert network(images).shape == (2, 3)
    assert [layer.rate for layer in network.layers if hasattr(layer, "rate")] == [0.2]
    kernels = [v for v in network.trainable_variables if v.name.endswith("kernel")]
    squares = sum(float(np.sum(np.square(kernel))) for kernel in kernels)
    assert len(kernels) > 30
    assert sum(map(float, network.losses)) == pytest.approx(1e-3 / 2 * squares, rel=1e-4)

    frozen = build(MOBILE_NET, weight_decay=1e-3, freeze_backbone=True, **arguments)
    kernel, _ = frozen.trainable_variables
    assert kernel.shape[-1] == 3
    losses = sum(map(float, frozen.losses))
    assert losses == pytest.approx(1e-3 / 2 * float(np.sum(np.square(kernel))), rel=1e-4)
    frozen.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images), frozen(images))


@pytest.mark.slow
def test_weights_of_a_backbone_come_from_a_file(tmp_path):
    backbone = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    network = build(MOBILE_NET, (32, 32, 3), network_weights=str(tmp_path / "backbone.weights.h5"))
    for one, other in zip(network.get_weights(), backbone.get_weights(), strict=False):
        np.testing.assert_array_equal(one, other)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch):
    def fail(*arguments, **options):
        raise Exception("URL fetch failure on https://a.b/c.h5: None -- Name not known\nmore")

    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", fail)
    with pytest.raises(
        UsageError, match="could not be downloaded .*network_weights=FILE"
    ) as caught:
        build(MOBILE_NET, (32, 32, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "weights", "is_of_size"),
    [(8, "none", True), (32, "junk.weights.h5", False), (32, "imagnet", False)],
)
def test_scaling_is_proposed_where_it_helps(size, weights, is_of_size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.weights.h5").write_text("junk")
    with pytest.raises(UsageError, match="cannot be made") as caught:
        build(MOBILE_NET, (size, size, 3), network_weights=weights)
    assert ("image_size" in str(caught.value)) == is_of_size


@pytest.mark.parametrize(
    "last",
    [
        [keras.layers.Dense(3)],
        [keras.layers.Dense(3, activation="softmax")],
        [keras.layers.Dense(3), keras.layers.Softmax()],
        [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        [keras.Sequential([keras.layers.Dense(3, activation="softmax")])],
    ],
    ids=["logits", "argument", "Softmax", "Activation", "nested"],
)
def test_a_softmax_is_taken_off(last, function, tmp_path):
    given = classifier(*[type(layer).from_config(layer.get_config()) for layer in last])
    images = RANDOM.integers(0, 256, (5, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(given(images))
    is_softmax = np.allclose(expected.sum(axis=1), 1)
    given.save(tmp_path / "given.keras")
    for name in (str(tmp_path / "given.keras"), function(lambda input_shape, num_classes: given)):
        logits = build(name)(images)
        found = keras.ops.softmax(logits) if is_softmax else logits
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.abs(np.sum(logits, axis=1) - 1).max() > 1e-3


def test_a_softmax_that_is_an_operation_is_taken_off(function):
    inputs = keras.Input((4,))
    logits = keras.layers.Dense(3)(inputs)
    network = keras.Model(inputs, keras.ops.softmax(logits))
    x = RANDOM.normal(size=(5, 4)).astype(np.float32)
    found = build(function(lambda input_shape, num_classes: network), (4,))(x)
    np.testing.assert_allclose(found, keras.Model(inputs, logits)(x), atol=1e-6)


def test_a_network_that_cannot_learn_is_refused(function):
    def make(input_shape, num_classes):
        network = classifier()
        network.trainable = False
        return network

    with pytest.raises(UsageError, match="no trainable variables"):
        build(function(make))


def test_own_regularizers_stay_and_other_kernels_decay(function):
    def make(input_shape, num_classes):
        return classifier(keras.layers.Dense(num_classes, kernel_regularizer="l1"))

    network = build(function(make), weight_decay=0.5)
    convolution, dense = (v for v in network.trainable_variables if v.name == "kernel")
    expected = 0.25 * np.sum(np.square(convolution)) + 0.01 * np.sum(np.abs(dense))
    assert sum(map(float, network.losses)) == pytest.approx(expected, rel=1e-5)


class Subclassed(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_network_of_a_function(function):
    network = build(function(lambda input_shape, num_classes: Subclassed(num_classes)), (4,))
    assert network.output_shape == (None, 3)
    assert len(network.trainable_variables) == 2


def test_which_files_take_raw_inputs(tmp_path):
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for name, network in {
        "rescaling": classifier(),
        "bytes": keras.Sequential(
            [keras.Input((4,), dtype="uint8"), keras.layers.Embedding(256, 2)]
        ),
        "bare": bare,
    }.items():
        network.save(tmp_path / f"{name}.keras")
    assert networks.takes_raw_inputs(str(tmp_path / "rescaling.keras"))
    assert networks.takes_raw_inputs(str(tmp_path / "bytes.keras"))
    assert not networks.takes_raw_inputs(str(tmp_path / "bare.keras"))
    assert networks.takes_raw_inputs(MOBILE_NET)
    assert not networks.takes_raw_inputs("a.b:c")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lambdas = [keras.layers.Lambda(lambda x: x), keras.layers.Dense(3)]
    classifier(keras.Sequential(lambdas)).save("lambda.keras")
    classifier(keras.layers.Dense(4)).save("four.keras")
    classifier(keras.layers.Dense(3), keras.layers.Activation("sigmoid")).save("sigmoid.keras")
    (tmp_path / "text.keras").write_text("no archive")
    (tmp_path / "broken.py").write_text("def make(input_shape, num_classes):\n    return 1 / 0\n")
    (tmp_path / "raises.py").write_text("import no_such_module\n")
    (tmp_path / "number.py").write_text("make = 3\ndef one(**shape):\n    return 1\n")
    (tmp_path / "leaves.py").write_text("def make(**shape):\n    raise SystemExit(5)\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("leaves", "broken", "raises", "number"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("gone.keras", {}, ["gone.keras", "cannot be read: No such file"]),
        ("text.keras", {}, ["not a file that Keras 3 saved"]),
        ("lambda.keras", {}, ["Lambda", "package.module:function"]),
        ("four.keras", {}, ["one output of 3 numbers", "(None, 4)"]),
        ("four.keras", {"input_shape": (9, 8, 3)}, ["(8, 8, 3)", "(9, 8, 3); set image_size"]),
        ("four.keras", {"input_shape": (8, 8, 1)}, ["(8, 8, 3)", "the data has one of (8, 8, 1)."]),
        ("sigmoid.keras", {}, ["ends in 'activation", "one logit per class"]),
        ("four.keras", {"dropout": 0.5}, ["leave it out, got dropout=0.5"]),
        ("broken:make", {}, ["ZeroDivisionError", "broken.py, line 2"]),
        ("broken:made", {}, ["broken has no function 'made'"]),
        ("raises:make", {}, ["cannot be imported", "no_such_module", "raises.py, line 1"]),
        ("no_such_package.nets:make", {}, ["cannot be imported", "no_such_package"]),
        ("number:make", {}, ["has no function 'make'"]),
        ("leaves:make", {}, ["failed", "SystemExit: 5"]),
        ("number:one", {}, ["must be a keras.Model, got an object of type int"]),
        ("keras.applications:MobilNet", {}, ["possible are", "MobileNetV2", "VGG16"]),
        ("keras.applications:Xception", {"network_weights": "none"}, ["8x8", "at least 71x71"]),
        (MOBILE_NET, {"input_shape": (5,)}, ["takes images"]),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_one_line(files, name, arguments, parts):
    with pytest.raises(UsageError) as caught:
        build(name, **arguments)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_an_archive_is_read_without_keras(files):
    assert "Lambda" in keras_archive.mistake("lambda.keras")
    assert keras_archive.mistake("four.keras") == ""
