from __future__ import annotations

import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from l2rw_tf import networks
from l2rw_tf.errors import UsageError


def build(name: str, input_shape=(8, 8, 1), num_classes: int = 10, **arguments) -> keras.Model:
    return networks.get(name, input_shape=input_shape, num_classes=num_classes, **arguments)


def count(network: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        # He et al. 2015, table 6, in millions: 0.27, 0.46, 0.66, 0.85.
        ("resnet20", 10, 0.27),
        ("resnet32", 10, 0.46),
        ("resnet44", 10, 0.66),
        ("resnet56", 10, 0.85),
        # Zagoruyko and Komodakis 2016, tables 4 and 5: 8.9 and 36.5.
        ("wrn16_8", 10, 11.0),
        ("wrn40_4", 10, 8.9),
        ("wrn28_10", 10, 36.5),
    ],
)
def test_parameter_counts_are_those_of_the_papers(name, classes, parameters):
    millions = count(build(name, (32, 32, 3), classes)) / 1e6
    assert round(millions, 1 if parameters > 1 else 2) == parameters


def test_the_count_of_a_resnet_by_hand():
    def block(a, b):
        return 9 * a * b + 9 * b * b + 4 * b

    expected = 9 * 3 * 16 + 2 * 16 + block(16, 16) + block(16, 32) + block(32, 64) + 64 * 10 + 10
    assert count(build("resnet8", (32, 32, 3))) == expected


def test_the_count_of_the_lenet_by_hand():
    expected = 25 * 16 + 16 + 25 * 16 * 32 + 32 + 25 * 32 * 64 + 64 + 1024 * 100 + 100 + 100 + 1
    assert count(build("lenet", (28, 28, 1), 2)) == expected + 101


@pytest.mark.parametrize("name", ["lenet", "resnet8", "wrn10_1", "mlp"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 4), (8, 8, 1), (28, 28, 1), (33, 17, 3), (224, 224, 3)]
)
def test_any_input_size(name, shape):
    if name == "mlp" and shape[0] == 224:
        shape = (64, 64, 3)
    network = build(name, shape, 3)
    logits = network(np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32))
    assert logits.shape == (2, 3)
    assert np.isfinite(logits).all() and np.abs(logits[0] - logits[1]).max() > 0


def test_a_row_of_a_table():
    assert build("mlp", (20,), 3)(np.ones((5, 20), np.float32)).shape == (5, 3)


@pytest.mark.parametrize("name", ["lenet", "resnet14", "wrn10_2", "mlp"])
def test_logits_start_at_a_moderate_size(name):
    """He et al. 2015 (1502.01852): the variance neither vanishes nor explodes with depth."""
    x = np.random.default_rng(0).normal(size=(64, 16, 16, 3)).astype(np.float32)
    logits = build(name, (16, 16, 3), seed=0)(x, training=True)
    assert 0.1 < np.std(logits) < 10


def test_a_shortcut_is_the_input_subsampled_with_zeros_around_it():
    from l2rw_tf.networks.resnet import _shortcut

    inputs = keras.Input((5, 4, 16))
    shortcut = keras.Model(inputs, _shortcut(inputs, 32, 2))
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 16)).astype(np.float32)
    expected = np.zeros((2, 3, 2, 32), np.float32)
    expected[..., 8:24] = x[:, ::2, ::2]
    np.testing.assert_array_equal(shortcut(x), expected)


@pytest.mark.parametrize("name", ["lenet", "resnet8", "wrn10_1", "mlp"])
def test_weight_decay_is_half_the_squared_norm_of_the_kernels(name):
    network = build(name, weight_decay=2e-4)
    kernels = [layer.kernel for layer in network.layers if hasattr(layer, "kernel")]
    expected = 2e-4 * 0.5 * sum(float(np.sum(np.square(kernel))) for kernel in kernels)
    assert sum(float(loss) for loss in network.losses) == pytest.approx(expected, rel=1e-5)
    assert build(name).losses == []


def test_dropout_is_where_it_was_asked_for():
    def rates(name, **arguments):
        layers = build(name, **arguments).layers
        return [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]

    assert rates("lenet") == [] and rates("lenet", dropout=0.5) == [0.5]
    assert rates("mlp") == [] and rates("mlp", dropout=0.2) == [0.2, 0.2]
    assert rates("wrn10_1") == [0.3] * 3 and rates("wrn10_1", dropout=0.0) == []
    assert rates("resnet8", dropout=0.0) == []


@pytest.mark.parametrize("name", ["lenet", "resnet8", "wrn10_1", "mlp"])
def test_the_start_is_that_of_the_seed(name):
    def start(seed):
        return [np.asarray(variable) for variable in build(name, seed=seed).trainable_variables]

    keras.utils.set_random_seed(1)
    one = start(5)
    keras.utils.set_random_seed(2)
    for left, right in zip(one, start(5), strict=True):
        np.testing.assert_array_equal(left, right)
    assert (one[0] != start(6)[0]).any()
    keras.utils.set_random_seed(3)
    one = start(None)
    keras.utils.set_random_seed(3)
    for left, right in zip(one, start(None), strict=True):
        np.testing.assert_array_equal(left, right)


def test_layers_of_one_shape_start_differently():
    kernels = [
        layer.kernel for layer in build("resnet14", seed=0).layers if hasattr(layer, "kernel")
    ]
    kernels = [np.asarray(kernel) for kernel in kernels if kernel.shape == (3, 3, 16, 16)]
    assert len(kernels) == 4
    assert len({kernel.tobytes() for kernel in kernels}) == 4


@pytest.mark.parametrize("name", ["lenet", "resnet8", "wrn10_1", "mlp"])
def test_a_saved_network_is_loaded_by_plain_keras(tmp_path, name):
    """With nothing of this package in what was saved."""
    network = build(name, weight_decay=1e-4, dropout=0.0 if name == "resnet8" else 0.1)
    assert "l2rw" not in network.to_json()
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), network(x))


def test_gradients_reach_every_variable():
    import tensorflow as tf

    for name in ("lenet", "resnet14", "wrn16_1", "mlp"):
        network = build(name, seed=0)
        x = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(x, training=True) - 1.0))
        gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
        assert all(gradient is not None for gradient in gradients)
        assert sum(float(tf.reduce_max(tf.abs(g))) > 0 for g in gradients) == len(gradients)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "alexnet"}, "network 'alexnet' is not known; possible are lenet, mlp, resnet8"),
        ({"name": ""}, "network '' is not known"),
        ({"name": "resnet"}, "network 'resnet' is not known"),
        ({"name": "resnet33"}, r"the depth of a ResNet is 6n\+2 .* got 33"),
        ({"name": "resnet2"}, r"got 2"),
        ({"name": "wrn28"}, "network 'wrn28' is not known"),
        ({"name": "wrn30_10"}, r"the depth of a wide ResNet is 6n\+4 .* got 30"),
        ({"name": "wrn28_0"}, "the width of a wide ResNet must be at least 1, got 0"),
        ({"name": "lenet", "input_shape": (20,)}, "'lenet' takes images .* shape \\(20,\\)"),
        ({"name": "mlp", "input_shape": (0,)}, r"sizes of at least 1, got \(0,\)"),
        ({"name": "mlp", "input_shape": ()}, r"sizes of at least 1, got \(\)"),
        ({"name": "mlp", "num_classes": 1}, "num_classes must be at least 2, got 1"),
        (
            {"name": "resnet8", "dropout": 0.5},
            "'resnet8' has no dropout; set dropout to 0, got 0.5",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        build(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.process
def test_a_name_is_checked_without_keras():
    code = (
        "import sys; from l2rw_tf import networks; networks.find('wrn28_10'); "
        "assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_new_network_is_a_file_and_a_line(monkeypatch):
    file = types.ModuleType("l2rw_tf.networks.toy")
    file.build = lambda units, input_shape, num_classes, weights, dropout: keras.Sequential(
        [keras.Input(input_shape), keras.layers.Dense(units), keras.layers.Dense(num_classes)]
    )
    monkeypatch.setitem(sys.modules, file.__name__, file)
    line = networks.Family(r"toy(\d+)", "toy8 (any width)", takes_tables=True)
    monkeypatch.setitem(networks.FAMILIES, "toy", line)
    assert count(build("toy7", (3,), 2)) == 4 * 7 + 8 * 2
    with pytest.raises(UsageError, match=r"possible are .*toy8 \(any width\)"):
        build("toy")
