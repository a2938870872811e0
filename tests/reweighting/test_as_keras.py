"""What trains under plain Keras trains here; what cannot is refused in one sentence."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import l2rw_tf
from l2rw_tf.errors import UsageError
from tests.reweighting.test_model import LOSS, data, network, reweighting

pytestmark = pytest.mark.slow

TEXT = np.array(["good film", "bad film", "so so", "very good"] * 6)
TEXT_Y = np.array([1, 0, 0, 1] * 6)


def both_train(make, loss, train, clean, **compile_arguments):
    """Plain Keras and the reweighting model on the same data; returns the latter."""
    plain = make()
    plain.compile("sgd", loss, **compile_arguments)
    plain.fit(*train, shuffle=False, verbose=0)
    model = l2rw_tf.ReweightingModel(make())
    model.compile("sgd", loss, **compile_arguments)
    history = model.fit(*train, clean_data=clean, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    return model


def vectorizer():
    layer = layers.TextVectorization(max_tokens=20, output_sequence_length=3)
    layer.adapt(TEXT)
    return layer


def text_sequential():
    return keras.Sequential(
        [vectorizer(), layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )


class TextSubclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = text_sequential().layers

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


class TextInDict(TextSubclassed):
    def call(self, x):
        return super().call(x["text"])


@pytest.mark.parametrize(
    ("make", "wrap"),
    [
        (text_sequential, lambda text: text),
        (TextSubclassed, lambda text: text),
        (TextInDict, lambda text: {"text": text}),
    ],
)
def test_text_through_any_first_layer(make, wrap):
    batches = tf.data.Dataset.from_tensor_slices((wrap(TEXT), TEXT_Y)).batch(6)
    both_train(make, LOSS, (batches, None), batches.take(1))


def masked(y, p):
    known = ops.isfinite(y)
    return ops.sum(ops.square(ops.where(known, y, p) - p), -1)


class ZeroForNaN(layers.Layer):
    def call(self, x):
        return ops.where(ops.isnan(x), 0.0, x)


def linear(outputs=2, first=()):
    return keras.Sequential([keras.Input((4,)), *first, layers.Dense(outputs)])


@pytest.mark.parametrize("side", ["x", "y", "clean y"])
def test_nan_that_a_layer_or_the_loss_leaves_out(side):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(24, n)).astype("float32") for n in (4, 2))
    clean = x[:6].copy(), y[:6].copy()
    {"x": x, "y": y, "clean y": clean[1]}[side][::3, 1] = np.nan
    both_train(lambda: linear(first=[ZeroForNaN()]), masked, (x, y), clean)
    model = l2rw_tf.ReweightingModel(linear())
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match="NaN or infinite.*a layer or a loss that ignores"):
        model.fit(x, y, clean_data=clean, verbose=0)


def two_outputs(kind):
    inputs = keras.Input((4,))
    a, b = (layers.Dense(3, name=name)(inputs) for name in "ab")
    return keras.Model(inputs, {"a": a, "b": b} if kind is dict else [a, b])


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    ("kind", "loss", "labels"),
    [
        (dict, {"a": LOSS, "b": None}, lambda y: {"a": y, "b": None}),
        (list, [LOSS, None], lambda y: [y, None]),
        (list, [None, LOSS], lambda y: [None, y]),
    ],
)
def test_labels_of_an_output_without_a_loss(kind, loss, labels):
    x, y = np.random.default_rng(0).normal(size=(20, 4)).astype("float32"), np.arange(20) % 3
    both_train(lambda: two_outputs(kind), loss, (x, labels(y)), (x[:6], labels(y[:6])))


class Looking(keras.Model):
    """Looks at its numbers, as one does while searching for a fault."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        out = self.dense(x)
        assert np.isfinite(out.numpy()).all()
        return out


def looking_loss(y, p):
    assert np.isfinite(p.numpy()).all()
    return keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)


@pytest.mark.parametrize(("make", "loss"), [(Looking, LOSS), (lambda: linear(3), looking_loss)])
def test_run_eagerly_with_numpy_inside(make, loss):
    x, y = np.random.default_rng(0).normal(size=(12, 4)).astype("float32"), np.arange(12) % 3
    both_train(make, loss, (x, y), (x[:6], y[:6]), run_eagerly=True)


class FixedNoise(keras.Model):
    """With the batch size written into it."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x + 0.01 * keras.random.normal((6, 4)))


class FixedReshape(FixedNoise):
    def call(self, x):
        return self.dense(ops.reshape(x, (6, 4)))


class LoopOverExamples(FixedNoise):
    def call(self, x):
        return tf.stack([self.dense(one[None])[0] for one in tf.unstack(x)])


@pytest.mark.parametrize("make", [FixedNoise, FixedReshape, LoopOverExamples])
def test_a_batch_size_written_into_the_network(make):
    x, y = np.random.default_rng(0).normal(size=(24, 4)).astype("float32"), np.arange(24) % 3
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(6, drop_remainder=True)
    both_train(make, LOSS, (batches, None), batches.take(1))


def test_a_loss_of_the_wrong_axis_shows_if_the_batch_has_its_size():
    """As many examples as time steps: a mean over the examples has the right shape, once."""
    x = np.random.default_rng(0).normal(size=(12, 6, 4)).astype("float32")
    net = keras.Sequential([keras.Input((6, 4)), layers.Dense(4)])
    batches = tf.data.Dataset.from_tensor_slices((x, x)).batch(6, drop_remainder=True)
    model = l2rw_tf.ReweightingModel(net)
    model.compile("sgd", lambda y, p: ops.mean(ops.square(y - p), axis=(0, 2)))
    with pytest.raises(UsageError, match="no value per example"):
        model.fit(batches, clean_data=batches.take(1), verbose=0)


def test_arrays_of_objects_and_dates():
    x, y = np.random.default_rng(0).normal(size=(24, 4)), np.arange(24) % 3
    objects = x.astype(object)
    objects[:, 1] = objects[:, 1] > 0
    for given, labels in ((objects, y), (x, y.astype(object))):
        model = l2rw_tf.ReweightingModel(linear(3))
        model.compile("sgd", LOSS)
        model.fit(given, labels, clean_data=(objects[:6], y[:6]), verbose=0)
    dates = np.zeros((24, 4), "datetime64[s]")
    with pytest.raises(UsageError, match="dates or times"):
        model.fit(dates, y, clean_data=(x[:6], y[:6]), verbose=0)
    with pytest.raises(UsageError, match="objects"):
        model.fit(np.full((24, 4), "a", object), y, clean_data=(x[:6], y[:6]), verbose=0)


def test_negative_sample_weights_are_refused_on_every_way():
    (x, y), clean = data(12), data(6, seed=1)
    s = np.ones(12, "float32")
    s[5] = -1
    model = reweighting()
    with pytest.raises(UsageError, match="1 negative weights, the first in example 5"):
        model.fit(x, y, sample_weight=s, clean_data=clean, verbose=0)
    with pytest.raises(UsageError, match="negative"):
        model.example_weights(x, y, sample_weight=s, clean_data=clean)
    with pytest.raises(UsageError, match="clean_data's sample_weight"):
        model.fit(x, y, clean_data=(*clean, -np.ones(6, "float32")), verbose=0)
    stream = tf.data.Dataset.from_tensor_slices((x, y, s)).batch(6)
    with pytest.raises(UsageError, match="1 weights that are negative"):
        model.fit(stream, clean_data=clean, verbose=0)
    model.fit(x, y, clean_data=clean, verbose=0)


class Recomputed(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, "relu")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return keras.remat(self.dense.call)(x)


class Crop(layers.Layer):
    def call(self, x):
        number = tf.shape(x)[0]
        boxes = tf.tile([[0.0, 0.0, 1.0, 1.0]], [number, 1])
        return tf.image.crop_and_resize(x, boxes, tf.range(number), (3, 3))

    def compute_output_shape(self, shape):
        return (shape[0], 3, 3, shape[-1])


class Bicubic(Crop):
    def call(self, x):
        return tf.raw_ops.ResizeBicubic(images=x, size=(3, 3))


@pytest.mark.parametrize(
    ("shape", "parts", "operation"),
    [
        ((4,), [Recomputed(name="block")], "recompute_grad"),
        ((8, 8, 1), [layers.Conv2D(2, 3), Crop(name="block")], "CropAndResize"),
        ((8, 8, 1), [layers.Conv2D(2, 3), Bicubic(name="block")], "ResizeBicubic"),
    ],
)
def test_what_has_no_second_derivative_is_named_with_its_layer(shape, parts, operation):
    x, y = np.random.default_rng(0).normal(size=(12, *shape)).astype("float32"), np.arange(12) % 3
    net = keras.Sequential([keras.Input(shape), *parts, layers.Flatten(), layers.Dense(3)])
    model = l2rw_tf.ReweightingModel(net)
    model.compile("sgd", LOSS)
    with pytest.raises(UsageError, match=f"{operation}.*block.*finite_difference"):
        model.fit(x, y, clean_data=(x[:4], y[:4]), verbose=0)


class OwnTrainStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


class OwnTestStep(keras.Sequential):
    def test_step(self, data):
        return super().test_step(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [(OwnTrainStep, "train_step"), (OwnTestStep, "test_step")],
)
def test_steps_of_a_networks_own_are_not_dropped(make, message):
    with pytest.raises(UsageError, match=message):
        l2rw_tf.ReweightingModel(make())


def test_dicts_in_another_order():
    """Keras takes an OrderedDict in its order; clean columns are the training ones by name."""
    y = np.arange(24) % 3
    columns = {name: np.random.default_rng(0).normal(size=(24, 1)) for name in "ab"}
    inputs = {name: keras.Input((1,), name=name) for name in "ab"}
    net = keras.Model(inputs, layers.Dense(3)(layers.Concatenate()(list(inputs.values()))))

    def batches(kind, names):
        x = kind((name, columns[name].astype("float32")) for name in names)
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(6)

    start = net.get_weights()

    def trained(kind, names, clean_kind, clean_names):
        net.set_weights(start)
        model = l2rw_tf.ReweightingModel(net)
        model.compile("sgd", LOSS)
        model.fit(batches(kind, names), clean_data=batches(clean_kind, clean_names), verbose=0)
        return np.concatenate([one.ravel() for one in net.get_weights()])

    expected = trained(dict, "ab", dict, "ab")
    for kinds in ((dict, "ab", OrderedDict, "ba"), (OrderedDict, "ab", dict, "ba")):
        np.testing.assert_allclose(trained(*kinds), expected, atol=1e-6)
    x = OrderedDict((name, columns[name].astype("float32")) for name in "ba")
    model = l2rw_tf.ReweightingModel(net)
    model.compile("sgd", LOSS)
    w = model.example_weights(columns, y, clean_data=(x, y))
    np.testing.assert_allclose(w, model.example_weights(columns, y, clean_data=(columns, y)))


def test_export_pickle_clone_and_summary(tmp_path, capsys):
    (x, y), clean = data(12), data(6, seed=1)
    model = reweighting(net=network())
    model.fit(x, y, clean_data=clean, track_examples=True, verbose=0)
    expected = model.predict(x, verbose=0)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(loaded.serve(x), expected, atol=1e-5)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(copy.predict(x, verbose=0), expected, atol=1e-6)
    assert (copy.example_record()["times_seen"] == 1).all()
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model) and clone.count_params() == model.count_params()
    capsys.readouterr()
    model.summary()
    shown = capsys.readouterr().out
    assert model.network.name in shown and "record" not in shown
