"""u against the literal look-ahead, finite differences, a closed form, XLA and half precision."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import l2rw_tf
from tests.reweighting import zoo
from tests.reweighting.look_ahead import CLEAN_SEED, look_ahead

_SLOW = (zoo.lstm, zoo.transformer, zoo.sequence_labeller, zoo.transfer)


def _name(make):
    return make.__name__


CASES = pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=pytest.mark.slow if make in _SLOW else ()) for make in zoo.CASES],
    ids=_name,
)


def train(case: zoo.Case, steps: int, **compile_arguments: Any) -> l2rw_tf.ReweightingModel:
    """Returns the reweighting model of a case after some steps of training."""
    model = l2rw_tf.ReweightingModel(case.network)
    model.compile(
        keras.optimizers.SGD(0.02),
        case.loss,
        loss_weights=case.loss_weights,
        **compile_arguments,
    )
    if steps:
        data = tf.data.Dataset.from_tensors(case.batch).repeat(steps)
        clean = tf.data.Dataset.from_tensors(case.clean_batch)
        model.fit(data, clean_data=clean, verbose=0)
    return model


def u_of(case: zoo.Case, method: str, **arguments: Any) -> tf.Tensor:
    """Returns the signed u of a case."""
    return l2rw_tf.meta_gradient(
        case.network,
        case.loss,
        case.batch,
        case.clean_batch,
        loss_weights=case.loss_weights,
        method=method,
        **arguments,
    )


def literal_u_of(case: zoo.Case) -> tf.Tensor:
    """Returns the signed u of a case as the paper writes it, with the losses by hand."""
    return look_ahead(case.network, case.by_hand, case.batch, case.clean_batch)


def central_difference(case: zoo.Case) -> np.ndarray:
    """−∂/∂ε_i of the clean loss after a real step on ε_i ℓ_i, with variables really assigned."""
    network = case.network
    trainable, state = network.trainable_variables, network.non_trainable_variables
    before = [v.numpy() for v in trainable + state]

    def restore() -> None:
        for variable, value in zip(trainable + state, before, strict=True):
            variable.assign(value)

    def losses(batch: Any, offset: int) -> tf.Tensor:
        for variable in state:
            if "seed_generator" in variable.path:
                variable.assign_add([offset, 0])
        takes_training = not isinstance(network, zoo.Subclassed)
        outputs = network(batch[0], training=True) if takes_training else network(batch[0])
        return case.by_hand(batch[1], outputs)

    u = []
    for i in range(zoo.N):
        with tf.GradientTape() as tape:
            loss = losses(case.batch, 0)[i]
        gradient = [
            0 if g is None else tf.convert_to_tensor(g).numpy()
            for g in tape.gradient(loss, [v.value for v in trainable])
        ]
        h = 1e-5 / np.sqrt(sum(np.sum(np.square(part)) for part in gradient))
        clean = []
        for step in (h, -h):
            restore()
            for variable, part in zip(trainable, gradient, strict=True):
                variable.assign_sub(step * part)
            clean.append(float(tf.reduce_mean(losses(case.clean_batch, CLEAN_SEED))))
        restore()
        u.append(-(clean[0] - clean[1]) / (2 * h))
    return np.asarray(u)


@CASES
def test_nested_equals_look_ahead_and_finite_difference(make, float64):
    """In double precision, at the start and after 50 steps."""
    keras.utils.set_random_seed(0)
    case = make()
    for steps in (0, 50):
        train(case, steps)
        u = u_of(case, "nested")
        largest = np.abs(u).max()
        assert largest > 0
        np.testing.assert_allclose(u, literal_u_of(case), rtol=0, atol=1e-10 * largest)
        np.testing.assert_allclose(u, central_difference(case), rtol=0, atol=1e-4 * largest)


# Swish has a gradient of its own in TensorFlow, recurrent layers are loops.
_NOT_FORWARD = {zoo.convolutional: "IdentityN", zoo.lstm: "While", zoo.sequence_labeller: "While"}


def in_graph(case: zoo.Case, method: str) -> np.ndarray:
    """Returns u of a case as a training takes it."""
    return tf.function(lambda: u_of(case, method), autograph=False)().numpy()


# Keras makes the metrics of a loss per output in the first call, which a graph does not allow.
_IN_GRAPH = [one for one in zoo.CASES if one not in (*_NOT_FORWARD, zoo.two_outputs)]


@pytest.mark.parametrize("make", _IN_GRAPH, ids=_name)
def test_forward_mode_equals_nested_tapes(make, float64):
    """In double precision, after some steps; in eager execution it is the same."""
    keras.utils.set_random_seed(0)
    case = make()
    train(case, 10)
    u, expected = in_graph(case, "forward"), u_of(case, "nested").numpy()
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-12 * largest)
    np.testing.assert_array_equal(u_of(case, "forward"), expected)


def test_forward_mode_gives_the_weights_of_two_outputs(float64):
    case = zoo.two_outputs()
    x, y = case.batch
    w = []
    for meta_gradient in ("nested", "forward"):
        model = l2rw_tf.ReweightingModel(case.network, meta_gradient=meta_gradient)
        model.compile("sgd", case.loss, loss_weights=case.loss_weights)
        w.append(model.example_weights(x, y, clean_data=case.clean_batch))
    assert w[0].sum() == pytest.approx(1)
    np.testing.assert_allclose(w[1], w[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("make", _NOT_FORWARD, ids=_name)
def test_what_forward_mode_cannot_follow_is_refused(make):
    """A simple recurrent layer would get a wrong u without a word."""
    case = make()
    layer = {"IdentityN": "activation", "While": "rnn|lstm"}[_NOT_FORWARD[make]]
    with pytest.raises(l2rw_tf.UsageError, match=f"{_NOT_FORWARD[make]} .of .*({layer}).*nested"):
        in_graph(case, "forward")


class _Applied(keras.layers.Layer):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


@tf.custom_gradient
def _reversed(x):
    return tf.identity(x), lambda gradient: -gradient


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (_reversed, "IdentityN"),
        (lambda x: tf.map_fn(tf.sin, x), "While"),
        (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.sin(x), lambda: x), "If"),
        (tf.function(lambda x: x * tf.nn.softplus(x)), None),
        (lambda x: x * tf.stop_gradient(x), None),
        (lambda x: tf.vectorized_map(tf.sin, x), None),
    ],
    ids=["own gradient", "loop", "branch", "function", "stop_gradient", "vectorized_map"],
)
def test_forward_mode_is_exact_or_refused(function, operation, float64):
    """Operations as users write them into layers."""
    keras.utils.set_random_seed(0)
    case = zoo.mlp()
    hidden, out = case.network.layers
    case.network = keras.Sequential([keras.Input((5,)), hidden, _Applied(function), out])
    if operation:
        with pytest.raises(l2rw_tf.UsageError, match=f"{operation} .of .*applied"):
            in_graph(case, "forward")
        return
    expected = in_graph(case, "nested")
    np.testing.assert_allclose(in_graph(case, "forward"), expected, rtol=0, atol=1e-14)


def test_a_loop_that_no_variable_reaches_may_stay():
    """Augmentation of the inputs, for example."""
    case = zoo.mlp()
    loop = _Applied(lambda x: tf.map_fn(tf.sin, x))
    case.network = keras.Sequential([keras.Input((5,)), loop, *case.network.layers])
    expected = in_graph(case, "nested")
    np.testing.assert_allclose(in_graph(case, "forward"), expected, atol=1e-6)


@CASES
def test_weights_in_single_precision(make):
    """w to 1e-6 of the literal form; u by finite differences to 1 %."""
    keras.utils.set_random_seed(0)
    case = make()
    case.take_clean_from_training()
    model = train(case, 50)
    literal = l2rw_tf.normalize(literal_u_of(case)).numpy()
    assert literal.sum() == pytest.approx(1, abs=1e-6)

    x, y = case.batch
    w = model.example_weights(x, y, clean_data=case.clean_batch)
    np.testing.assert_allclose(w, literal, rtol=0, atol=1e-6)

    u, difference = u_of(case, "nested"), u_of(case, "finite_difference")
    np.testing.assert_allclose(difference, u, rtol=0, atol=0.01 * np.abs(u).max())


@pytest.mark.xla
@pytest.mark.parametrize("make", [zoo.convolutional, zoo.sequence_labeller], ids=_name)
def test_weights_under_xla(make):
    """To 1e-4 of the literal form, with dropout and with a loop."""
    keras.utils.set_random_seed(0)
    case = make()
    case.take_clean_from_training()
    train(case, 50)
    model = train(case, 0, jit_compile=True)
    w = model.example_weights(*case.batch, clean_data=case.clean_batch)
    # XLA draws other masks from the same seed, so the literal form is compiled as well.
    literal = tf.function(
        lambda: l2rw_tf.normalize(literal_u_of(case)), jit_compile=True, autograph=False
    )()
    assert tf.reduce_sum(literal) > 0
    np.testing.assert_allclose(w, literal, rtol=0, atol=1e-4)


def test_logistic_regression_has_a_closed_form():
    """u_i = (p_i − y_i) mean_j((p^v_j − y^v_j)(x_i·x^v_j + 1)), worked out in NumPy."""
    rng = np.random.default_rng(0)
    x, x_clean = rng.normal(size=(20, 4)), rng.normal(size=(7, 4))
    y, y_clean = rng.integers(0, 2, (20, 1)), rng.integers(0, 2, (7, 1))
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    kernel, bias = (v.numpy().astype(float) for v in network.trainable_variables)
    residual, clean_residual = (
        1 / (1 + np.exp(-(a @ kernel + bias))) - b for a, b in ((x, y), (x_clean, y_clean))
    )
    expected = (residual * (x @ x_clean.T + 1) * clean_residual.T).mean(axis=1)

    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    u = l2rw_tf.meta_gradient(network, loss, (x, y), (x_clean, y_clean)).numpy()
    np.testing.assert_allclose(u, expected, atol=1e-6)
    w = l2rw_tf.normalize(u).numpy()
    np.testing.assert_allclose(
        w, np.maximum(expected, 0) / np.maximum(expected, 0).sum(), atol=1e-6
    )


def test_head_is_the_part_of_the_last_layer():
    """For a linear head, ⟨∇ℓ_i, v⟩ over its kernel and bias has a closed form in the features."""
    keras.utils.set_random_seed(0)
    case = zoo.mlp()
    features = case.network.layers[0]

    def parts(batch):
        p = keras.ops.softmax(case.network(batch[0])).numpy()
        return features(batch[0]).numpy(), p - np.eye(3)[batch[1]]

    h, r = parts(case.batch)
    h_clean, r_clean = parts(case.clean_batch)
    expected = ((h @ h_clean.T + 1) * (r @ r_clean.T)).mean(axis=1)
    np.testing.assert_allclose(u_of(case, "nested", meta_variables="head"), expected, atol=1e-6)


def test_head_of_a_network_with_two_outputs_is_both_last_layers():
    """The variables of both heads and nothing else, chosen by name, give the same u."""
    case = zoo.two_outputs()
    by_name = u_of(case, "nested", meta_variables=lambda v: v.path.startswith(("kind/", "size/")))
    np.testing.assert_allclose(u_of(case, "nested", meta_variables="head"), by_name, atol=1e-7)
    assert np.abs(u_of(case, "nested") - by_name).max() > 1e-3


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum"])
def test_reductions_give_the_same_u_up_to_scale(reduction):
    """A mean over time steps and a sum over them differ by a factor that w does not see."""
    keras.utils.set_random_seed(0)
    case = zoo.sequence_labeller()
    reference = l2rw_tf.normalize(u_of(case, "nested")).numpy()
    case.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    np.testing.assert_allclose(
        l2rw_tf.normalize(u_of(case, "nested")).numpy(), reference, atol=1e-6
    )


def test_masked_positions_count_as_keras_counts_them():
    """Σ_i w_i ℓ_i is what Keras computes with sample weights N w, masks included."""
    from l2rw_tf.reweighting.losses import ExampleLosses

    keras.utils.set_random_seed(0)
    tokens = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0], [1, 0, 0, 0, 0]])
    y = np.random.default_rng(0).integers(0, 4, (3, 5))
    network = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(7, 3, mask_zero=True),
            keras.layers.LSTM(4, return_sequences=True),
            keras.layers.Dense(4),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    outputs = network(tokens)
    w = np.array([0.5, 0.2, 0.3], "float32")
    by_keras = loss(y, outputs, sample_weight=3 * w[:, None])
    np.testing.assert_allclose(
        tf.reduce_sum(w * ExampleLosses(loss)(y, outputs)), by_keras, rtol=1e-6
    )


def test_labels_to_be_ignored_count_as_keras_counts_them():
    """`ignore_class` masks positions of the loss."""
    from l2rw_tf.reweighting.losses import ExampleLosses

    rng = np.random.default_rng(0)
    y, logits = rng.integers(-1, 3, (4, 6)), rng.normal(size=(4, 6, 3)).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    w = np.array([0.1, 0.2, 0.3, 0.4], "float32")
    by_keras = loss(y, logits, sample_weight=4 * w[:, None])
    np.testing.assert_allclose(
        tf.reduce_sum(w * ExampleLosses(loss)(y, logits)), by_keras, rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_ranks_examples_as_single_precision_does(policy):
    """Training runs, and Spearman's correlation of u is at least 0.98."""

    def make(dtype):
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(8, 3, dtype=dtype),
                layers.BatchNormalization(dtype=dtype),
                layers.ReLU(dtype=dtype),
                layers.Conv2D(8, 3, dtype=dtype),
                layers.ReLU(dtype=dtype),
                layers.Flatten(dtype=dtype),
                layers.Dense(4, dtype="float32"),
            ]
        )

    rng = np.random.default_rng(0)
    templates = rng.normal(size=(4, 8, 8, 1))
    y = rng.integers(0, 4, 264)
    x = (templates[y] + rng.normal(size=(264, 8, 8, 1))).astype("float32")
    y[:60] = rng.integers(0, 4, 60)
    clean = (x[200:], y[200:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    networks = {}
    for dtype in ("float32", policy):
        keras.config.set_dtype_policy(dtype)
        try:
            networks[dtype] = make(dtype)
        finally:
            keras.config.set_dtype_policy("float32")
    model = l2rw_tf.ReweightingModel(networks[policy])
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    assert (policy == "mixed_float16") == isinstance(
        model.optimizer, keras.optimizers.LossScaleOptimizer
    )
    history = model.fit(x[:200], y[:200], clean_data=clean, epochs=5, batch_size=50, verbose=0)
    assert history.history["clean_loss"][-1] < history.history["clean_loss"][0]

    networks["float32"].set_weights(networks[policy].get_weights())
    u = [
        l2rw_tf.meta_gradient(networks[d], loss, (x[:200], y[:200]), clean).numpy()
        for d in ("float32", policy)
    ]
    assert stats.spearmanr(*u).statistic >= 0.98
    w = [l2rw_tf.normalize(one).numpy() for one in u]
    assert stats.spearmanr(*w).statistic >= 0.98


@pytest.mark.parametrize("method", ["nested", "forward", "finite_difference"])
def test_nothing_changes(method):
    """Moving averages and seeds are what they were, whichever method is asked for."""
    case = zoo.transfer() if method == "forward" else zoo.convolutional()
    before = [v.numpy() for v in case.network.variables]
    u_of(case, method)
    for value, variable in zip(before, case.network.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())


def test_clean_pass_draws_its_own_dropout_mask():
    """With one batch on both sides, the same mask would make every u of a rank-1 model positive."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((50,)), keras.layers.Dropout(0.5), keras.layers.Dense(1, use_bias=False)]
    )
    x, y = np.ones((1, 50), "float32"), np.full((1, 1), 100.0, "float32")
    residual = 2 * (network(x).numpy() - y)
    # With one mask shared, u would be residual² times the squared length of the masked input,
    # which is 4 for each kept input; two independent masks share about half of the kept ones.
    u = l2rw_tf.meta_gradient(network, "mse", (x, y), (x, y)).numpy()
    shared = u / residual.item() ** 2 / 4
    assert 5 < shared < 20


def test_operation_without_second_derivative_names_the_way_out():
    """`UpSampling2D` by bicubic interpolation has none; finite differences need none."""
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 1),
            keras.layers.UpSampling2D(interpolation="bicubic", name="enlarge"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(5, 4, 4, 1)).astype("float32"), rng.integers(0, 2, 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(l2rw_tf.UsageError, match="ResizeBicubic.*finite_difference"):
        l2rw_tf.meta_gradient(network, loss, batch, batch)
    u = l2rw_tf.meta_gradient(network, loss, batch, batch, method="finite_difference")
    # The resize is linear, so by hand: its Jacobian turns the network into one with a plain kernel.
    expected = tf.stack(
        [_inner(network, loss, (batch[0][i : i + 1], batch[1][i : i + 1]), batch) for i in range(5)]
    )
    np.testing.assert_allclose(u, expected, atol=0.01 * np.abs(expected).max())


def _inner(network, loss, one, clean):
    """⟨∇ℓ_i, v⟩ by two ordinary gradients."""
    gradients = []
    for x, y in (one, clean):
        with tf.GradientTape() as tape:
            value = loss(y, network(x, training=True))
        gradients.append(tape.gradient(value, [v.value for v in network.trainable_variables]))
    return sum(tf.reduce_sum(a * b) for a, b in zip(*gradients, strict=True))


def test_unknown_method():
    """One sentence with the possible values."""
    case = zoo.mlp()
    with pytest.raises(ValueError, match="'nested', 'forward', 'finite_difference', got 'back'"):
        u_of(case, "back")
