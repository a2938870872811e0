"""Kinds of data that train under plain Keras, beside plain Keras; and weights that cannot."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import l2rw_tf
from l2rw_tf.errors import UsageError
from tests.equal_weights import Equal

pytestmark = pytest.mark.slow

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BATCH = 6
X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.arange(24) % 3


def trained(make, loss, data, wrap=lambda net: net, **arguments):
    keras.utils.set_random_seed(0)
    net = make()
    model = wrap(net)
    model.compile(keras.optimizers.SGD(0.1), loss)
    if len(data) > 1:
        arguments["batch_size"] = BATCH
    model.fit(*data, shuffle=False, verbose=0, **arguments)
    return net.get_weights()


def trains_as_keras(make, data, clean, loss=LOSS, meta_gradient="nested", **arguments):
    """With all weights equal the network becomes what plain Keras makes of it."""

    def wrap(net):
        return l2rw_tf.ReweightingModel(net, meta_gradient=meta_gradient, weighting=Equal())

    plain = trained(make, loss, data, **arguments)
    equal = trained(make, loss, data, wrap, clean_data=clean, **arguments)
    for a, b in zip(plain, equal, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def linear(outputs=3):
    return keras.Sequential([keras.Input((4,)), layers.Dense(outputs)])


def batches(*parts):
    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH, drop_remainder=True)


def of_a_dict():
    inputs = keras.Input((4,), name="a")
    return keras.Model({"a": inputs}, layers.Dense(3)(inputs))


NAN = np.full(24, np.nan)
NAMES = np.array([f"id {number}" for number in range(24)])


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(
    ("data", "clean"),
    [
        (({"a": X, "notes": NAN}, Y), ({"a": X[:6], "notes": NAN[:6]}, Y[:6])),
        ((batches({"a": X, "name": NAMES}, Y),), batches({"a": X, "name": NAMES}, Y)),
        (({"a": X, "other": X}, Y), ({"a": X[:6]}, Y[:6])),
    ],
    ids=["NaN", "text", "on one side"],
)
def test_inputs_that_the_network_does_not_have(data, clean):
    trains_as_keras(of_a_dict, data, clean)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)


class OfRagged(Subclassed):
    def call(self, x):
        return self.dense(x.to_tensor(shape=[None, 4]))


class OfSparse(Subclassed):
    def call(self, x):
        return self.dense(tf.ensure_shape(tf.sparse.to_dense(x), [None, 4]))


class OfParts(Subclassed):
    """Takes a number for the whole batch, or nothing, beside its inputs."""

    def call(self, x):
        out = self.dense(x["a"])
        return out if x.get("scale") is None else out * x["scale"]


RAGGED = tf.ragged.constant([[1.0] * (1 + number % 4) for number in range(24)])
SPARSE = tf.sparse.from_dense(np.maximum(X, 0))


def scaled():
    return batches(X, Y).map(lambda x, y: ({"a": x, "scale": tf.constant(2.0)}, y))


@pytest.mark.parametrize(
    ("make", "data", "clean"),
    [
        (OfRagged, (RAGGED, Y), (RAGGED[:6], Y[:6])),
        (OfSparse, (batches(SPARSE, Y),), batches(SPARSE, Y)),
        (OfParts, (scaled(),), scaled()),
        (OfParts, ({"a": X, "scale": None}, Y), ({"a": X[:6], "scale": None}, Y[:6])),
    ],
    ids=["ragged", "sparse", "scalar", "None"],
)
def test_inputs_of_every_form_reach_a_subclassed_network(make, data, clean):
    trains_as_keras(make, data, clean)


def of_a_generator(of_inputs, of_labels):
    def generate():
        return ((X[at : at + BATCH], Y[at : at + BATCH]) for at in range(0, 24, BATCH))

    signature = tf.TensorSpec(of_inputs), tf.TensorSpec(of_labels, tf.int64)
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    "shapes",
    [((None, None), (None,)), ((None, 4), (None,)), ((BATCH, None), (BATCH,))],
    ids=["all", "the batch", "all but the batch"],
)
def test_shapes_that_are_not_known(shapes):
    trains_as_keras(linear, (of_a_generator(*shapes),), (X[:6], Y[:6]))


class FixedBatch(Subclassed):
    def call(self, x):
        return self.dense(ops.reshape(x, (BATCH, 4)))


def known_only(y, p):
    known = ops.isfinite(y)
    return ops.mean(ops.square(ops.where(known, y, p) - p), -1)


def test_nan_that_the_loss_leaves_out_with_a_batch_size_in_the_network():
    labels = X[:, :3].copy()
    labels[5, 1] = np.nan
    trains_as_keras(FixedBatch, (X, labels), (X[:6], labels[:6]), known_only)


@pytest.mark.parametrize("kind", [int, bool])
def test_sample_weights_of_other_types(kind):
    weights = (np.arange(24) % 2).astype(kind)
    trains_as_keras(linear, (X, Y), (X[:6], Y[:6]), sample_weight=weights)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_weights_that_weight_nothing_are_refused_on_every_way(value):
    weights = np.ones(24, "float32")
    weights[3] = value
    model = l2rw_tf.ReweightingModel(linear())
    model.compile("sgd", LOSS)
    clean = X[:6], Y[:6]
    message = "weights|NaN or infinite"
    with pytest.raises(UsageError, match=f"^sample_weight holds 1 .*({message}).*example 3"):
        model.fit(X, Y, sample_weight=weights, clean_data=clean, verbose=0)
    with pytest.raises(UsageError, match="^clean_data's sample_weight holds 1"):
        model.fit(X, Y, clean_data=(X, Y, weights), verbose=0)
    with pytest.raises(UsageError, match="sample_weight of batch 0 of clean_data holds 1"):
        model.fit(X, Y, clean_data=batches(X, Y, weights), verbose=0)
    with pytest.raises(UsageError, match="class_weight gave 8"):
        model.fit(X, Y, class_weight={0: 1.0, 1: value, 2: 1.0}, clean_data=clean, verbose=0)


class Looking(Subclassed):
    def call(self, x):
        return self.dense(x - x.numpy().mean(0))


@pytest.mark.parametrize(
    ("make", "x", "clean_x", "run_eagerly"),
    [
        (OfRagged, RAGGED, RAGGED[:6], False),
        (OfSparse, SPARSE, tf.sparse.slice(SPARSE, [0, 0], [6, 4]), False),
        (Looking, X, X[:6], True),
    ],
    ids=["ragged", "sparse", "eager"],
)
def test_single_batches_of_every_form(make, x, clean_x, run_eagerly):
    model = l2rw_tf.ReweightingModel(make())
    model.compile("sgd", LOSS, run_eagerly=run_eagerly)
    before = model.example_weights(x, Y, clean_data=(clean_x, Y[:6]))
    np.testing.assert_allclose(before.sum(), 1, rtol=1e-5)
    model.train_on_batch(x, Y, clean_data=(clean_x, Y[:6]))
    after = model.example_weights(x, Y, clean_data=(clean_x, Y[:6]))
    assert not np.array_equal(before, after)
