"""ReweightingModel as a Keras user meets it: fit and its arguments, state, logs, saving, errors."""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import l2rw_tf
from tests.reweighting import zoo
from tests.reweighting.look_ahead import look_ahead

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data(n=50, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, 4))
    y = rng.integers(0, classes, n)
    return (centers[y] + 0.3 * rng.normal(size=(n, 4))).astype("float32"), y


def network(batch_norm=False, regularizer=None, width=8):
    keras.utils.set_random_seed(1)
    hidden = [keras.layers.BatchNormalization()] if batch_norm else []
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(width, "tanh", kernel_regularizer=regularizer),
            *hidden,
            keras.layers.Dense(3),
        ]
    )


@contextlib.contextmanager
def half_precision():
    """Layers made within compute in float16."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def reweighting(optimizer="sgd", net=None, loss=LOSS, **compile_arguments):
    model = l2rw_tf.ReweightingModel(net or network())
    model.compile(optimizer, loss, metrics=["accuracy"], **compile_arguments)
    return model


def values(model):
    return [v.numpy() for v in model.variables]


def slow_step(net, batch, clean_batch, learning_rate, sample_weight=None):
    """One step of the method by ordinary gradients, one example at a time."""
    x, y = batch

    def gradient(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, net(x))
        return tape.gradient(loss, [v.value for v in net.trainable_variables])

    v = gradient(*clean_batch)
    each = [gradient(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    u = np.array(
        [sum(float(tf.reduce_sum(a * b)) for a, b in zip(g, v, strict=True)) for g in each]
    )
    w = np.maximum(u, 0) * (1 if sample_weight is None else sample_weight)
    w = w / w.sum() if w.sum() else w
    update = [sum(w[i] * each[i][k] for i in range(len(x))) for k in range(len(v))]
    new = [
        variable.numpy() - learning_rate * step
        for variable, step in zip(net.trainable_variables, update, strict=True)
    ]
    return w, new


@pytest.mark.parametrize("sample_weight", [None, "given"])
def test_a_step_is_the_method_done_slowly(sample_weight):
    """Weights, update and logs of one step against one gradient an example."""
    (x, y), clean = data(10), data(5, seed=1)
    s = np.random.default_rng(0).uniform(0, 2, 10).astype("float32") if sample_weight else None
    model = reweighting(keras.optimizers.SGD(0.1))
    w, new = slow_step(model.network, (x, y), clean, 0.1, s)
    np.testing.assert_allclose(model.example_weights(x, y, s, clean_data=clean), w, atol=1e-6)

    losses = keras.losses.sparse_categorical_crossentropy(y, model.network(x), from_logits=True)
    clean_loss = float(LOSS(clean[1], model.network(clean[0])))
    logs = model.train_on_batch(x, y, s, clean_data=clean, return_dict=True)
    for variable, expected in zip(model.network.trainable_variables, new, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)
    assert logs["loss"] == pytest.approx(float(np.sum(w * losses)), rel=1e-5)
    assert logs["clean_loss"] == pytest.approx(clean_loss, rel=1e-5)
    assert logs["effective_batch_size"] == pytest.approx(1 / np.sum(w**2), rel=1e-4)
    assert logs["zero_weight_share"] == pytest.approx(np.mean(w == 0))


def test_example_weights_change_nothing():
    """Neither parameters nor moving averages, metrics nor seeds."""
    case = zoo.convolutional()
    model = reweighting(net=case.network)
    model.train_on_batch(*case.batch, clean_data=case.clean_batch)
    before = values(model)
    w = model.example_weights(*case.batch, clean_data=case.clean_batch)
    assert w.shape == (zoo.N,) and w.dtype == np.float32
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("meta_gradient", ["nested", "finite_difference"])
def test_moving_averages_are_those_of_plain_training(meta_gradient):
    """Whatever the clean batch holds, and with dropout's seed moved on by one."""
    case = zoo.convolutional()
    x, y = case.batch
    plain = keras.models.clone_model(case.network)
    plain.set_weights(case.network.get_weights())
    plain.compile("sgd", LOSS)
    plain.train_on_batch(x, y)
    model = l2rw_tf.ReweightingModel(case.network, meta_gradient=meta_gradient)
    model.compile("sgd", LOSS)
    model.train_on_batch(x, y, clean_data=(1000 + case.clean_batch[0], case.clean_batch[1]))
    pairs = zip(plain.non_trainable_variables, case.network.non_trainable_variables, strict=True)
    for expected, variable in pairs:
        if "seed_generator" in variable.path:
            assert variable.numpy()[1] == expected.numpy()[1] == 1
        else:
            np.testing.assert_allclose(variable.numpy(), expected.numpy(), rtol=1e-5)


def test_regularization_moves_the_update_and_not_the_weights():
    """The difference of the updates is the learning rate times the gradient of the penalty."""
    (x, y), clean = data(10), data(5, seed=1)
    with_penalty = reweighting(
        keras.optimizers.SGD(0.1), network(regularizer=keras.regularizers.L2(0.5))
    )
    without = reweighting(keras.optimizers.SGD(0.1), network())
    kernel = with_penalty.network.layers[0].kernel.numpy()
    weights = [m.example_weights(x, y, clean_data=clean) for m in (with_penalty, without)]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-7)
    logs = [
        m.train_on_batch(x, y, clean_data=clean, return_dict=True) for m in (with_penalty, without)
    ]
    new = [m.network.layers[0].kernel.numpy() for m in (with_penalty, without)]
    np.testing.assert_allclose(new[1] - new[0], 0.1 * 2 * 0.5 * kernel, atol=1e-6)
    penalty = 0.5 * np.square(kernel).sum()
    assert logs[0]["loss"] - logs[1]["loss"] == pytest.approx(penalty, rel=1e-4)
    assert logs[0]["clean_loss"] == pytest.approx(logs[1]["clean_loss"], rel=1e-6)


def test_all_zero_weights_leave_the_parameters_as_they_are():
    """Bit for bit with plain SGD, and nothing is NaN."""
    x = np.ones((6, 4), "float32")
    model = reweighting(
        keras.optimizers.SGD(0.1), keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    )
    model.network.layers[0].kernel.assign(np.zeros((4, 3)))
    batch, clean = (x, np.zeros(6, int)), (x, np.ones(6, int))
    np.testing.assert_array_equal(model.example_weights(*batch, clean_data=clean), np.zeros(6))
    before = [v.numpy() for v in model.network.variables]
    logs = model.train_on_batch(*batch, clean_data=clean, return_dict=True)
    for a, b in zip(before, model.network.variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    assert (
        logs["loss"] == 0 and logs["effective_batch_size"] == 0 and logs["zero_weight_share"] == 1
    )
    assert all(math.isfinite(value) for value in logs.values())


def test_sample_weight_of_zero_takes_an_example_out():
    """The step is that of the batch without the examples."""
    (x, y), clean = data(10), data(5, seed=1)
    keep = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 1], "float32")
    full, reduced = reweighting(), reweighting()
    full.train_on_batch(x, y, keep, clean_data=clean)
    reduced.train_on_batch(x[keep > 0], y[keep > 0], clean_data=clean)
    assert (full.example_weights(x, y, keep, clean_data=clean)[keep == 0] == 0).all()
    for a, b in zip(full.network.variables, reduced.network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_class_weight_is_a_sample_weight_of_the_training_data_alone():
    """And enters once."""
    (x, y), clean = data(10), data(5, seed=1)
    class_weight = {0: 0.5, 1: 2.0, 2: 1.0}
    by_class, by_example = reweighting(), reweighting()
    logs = by_class.train_on_batch(
        x, y, class_weight=class_weight, clean_data=clean, return_dict=True
    )
    s = np.array([class_weight[label] for label in y], "float32")
    expected = by_example.train_on_batch(x, y, s, clean_data=clean, return_dict=True)
    assert logs == pytest.approx(expected, rel=1e-6)


def test_weights_of_time_steps_enter_once():
    """Constant over an example they are its sample weight; 0 at a step takes the step out."""
    case = zoo.sequence_labeller()
    model = reweighting(net=case.network)
    x, y = case.batch
    s = np.linspace(0.5, 2, zoo.N).astype("float32")
    per_step = np.repeat(s[:, None], zoo.N, axis=1)
    one, other = (
        model.example_weights(x, y, weight, clean_data=case.clean_batch) for weight in (s, per_step)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    per_step[:, 2] = 0
    changed = y.copy()
    changed[:, 2] = (y[:, 2] + 1) % 3
    one, other = (
        model.example_weights(x, labels, per_step, clean_data=case.clean_batch)
        for labels in (y, changed)
    )
    np.testing.assert_allclose(one, other, atol=1e-7)


def test_weights_of_the_clean_data_weight_its_mean():
    """Repeating a clean example is the same as a weight of 2."""
    (x, y), (cx, cy) = data(10), data(4, seed=1)
    model = reweighting()
    weighted = model.example_weights(x, y, clean_data=(cx, cy, np.array([2, 1, 1, 1], "float32")))
    repeated = model.example_weights(
        x, y, clean_data=(np.concatenate([cx[:1], cx]), np.concatenate([cy[:1], cy]))
    )
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.02),
    "adamw": lambda: keras.optimizers.AdamW(0.02, clipnorm=1.0, use_ema=True, ema_momentum=0.9),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("momentum", "adam") else ())
        for name in OPTIMIZERS
    ],
)
def test_fit_learns_and_does_not_depend_on_steps_per_execution(name):
    """One step at a time and ten at once give the same parameters, last batch smaller."""
    (x, y), clean = data(95), data(12, seed=1)
    y[:30] = 0
    training = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    clean_data = tf.data.Dataset.from_tensor_slices(clean).batch(12)
    models = [reweighting(OPTIMIZERS[name](), steps_per_execution=steps) for steps in (1, 10)]
    for model in models:
        history = model.fit(training, clean_data=clean_data, epochs=6, verbose=0)
    assert history.history["clean_loss"][-1] < 0.7 * history.history["clean_loss"][0]
    for a, b in zip(models[0].network.variables, models[1].network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_a_smaller_last_batch_is_a_batch_like_any_other():
    """An epoch equals its batches one by one."""
    (x, y), clean = data(25), data(6, seed=1)
    whole, one_by_one = reweighting(), reweighting()
    whole.fit(
        x,
        y,
        batch_size=10,
        shuffle=False,
        clean_data=tf.data.Dataset.from_tensors(clean),
        verbose=0,
    )
    for start in (0, 10, 20):
        one_by_one.train_on_batch(x[start : start + 10], y[start : start + 10], clean_data=clean)
    for a, b in zip(whole.network.variables, one_by_one.network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


class Batches(keras.utils.PyDataset):
    """Batches that count the epochs they have seen."""

    def __init__(self, x, y, size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.size, self.epochs = x, y, size, 0

    @property
    def num_batches(self):
        return math.ceil(len(self.x) / self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return self.x[part], self.y[part]

    def on_epoch_end(self):
        self.epochs += 1


def sources(x, y, size):
    return {
        "arrays": (x, y),
        "dataset": tf.data.Dataset.from_tensor_slices((x, y)).batch(size),
        "pydataset": Batches(x, y, size),
        "pydataset with workers": Batches(x, y, size, workers=2),
    }


@pytest.mark.parametrize(
    ("training_kind", "clean_kind"),
    [
        pytest.param(*kinds, marks=pytest.mark.slow if kinds[0] != kinds[1] else ())
        for kinds in itertools.product(sources(*data(4), 2), repeat=2)
    ],
)
def test_every_kind_of_data_on_either_side(training_kind, clean_kind):
    """One batch an epoch, so that order plays no part: all kinds give the same training."""
    (x, y), clean = data(20), data(6, seed=1)
    training = sources(x, y, 20)[training_kind]
    model = reweighting()
    arguments = (
        {"x": training[0], "y": training[1], "batch_size": 20}
        if training_kind == "arrays"
        else {"x": training}
    )
    history = model.fit(**arguments, clean_data=sources(*clean, 6)[clean_kind], epochs=2, verbose=0)
    reference = reweighting()
    expected = reference.fit(x, y, batch_size=20, clean_data=clean, epochs=2, verbose=0)
    for name, series in expected.history.items():
        np.testing.assert_allclose(history.history[name], series, rtol=1e-4, err_msg=name)


def test_several_inputs_and_outputs_as_dicts_and_lists():
    """Logs of the outputs are the reweighted losses; names and lists work as in Keras."""
    case = zoo.two_outputs()
    (x, y), clean = case.batch, case.clean_batch
    model = l2rw_tf.ReweightingModel(case.network)
    model.compile("sgd", case.loss, loss_weights=case.loss_weights, metrics={"kind": "accuracy"})
    w = model.example_weights(x, y, clean_data=clean)
    outputs = case.network(x)
    kind = float(np.sum(w * zoo.softmax_by_hand(y["kind"], outputs["kind"])))
    size = float(np.sum(w * np.mean(np.square(y["size"] - outputs["size"]), -1)))
    history = model.fit(x, y, clean_data=clean, batch_size=zoo.N, shuffle=False, verbose=0).history
    assert history["kind_loss"][0] == pytest.approx(kind, rel=1e-4)
    assert history["size_loss"][0] == pytest.approx(size, rel=1e-4)
    assert history["loss"][0] == pytest.approx(0.3 * kind + 2 * size, rel=1e-4)
    assert "kind_accuracy" in history

    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    hidden = keras.layers.Concatenate()([a, b])
    listed = keras.Model([a, b], [keras.layers.Dense(3)(hidden), keras.layers.Dense(2)(hidden)])
    model = l2rw_tf.ReweightingModel(listed)
    model.compile("sgd", [LOSS, "mse"], loss_weights=[0.3, 2.0])
    as_lists = [([x["a"], x["b"]], [y["kind"], y["size"]]) for x, y in (case.batch, clean)]
    model.fit(*as_lists[0], clean_data=as_lists[1], sample_weight=np.ones(zoo.N), verbose=0)
    model.evaluate(*as_lists[0], verbose=0)


def test_validation_callbacks_and_epochs_mean_what_they_mean_in_keras():
    """validation_data and _split, initial_epoch, steps_per_epoch, verbose=0."""
    (x, y), clean = data(40), data(6, seed=1)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs)))
    )
    model = reweighting()
    history = model.fit(
        x,
        y,
        clean_data=clean,
        initial_epoch=2,
        epochs=4,
        steps_per_epoch=2,
        batch_size=5,
        validation_split=0.25,
        callbacks=[watch],
        verbose=0,
    )
    assert [epoch for epoch, _ in seen] == [2, 3]
    assert seen[0][1] == sorted(
        [
            "accuracy",
            "clean_loss",
            "effective_batch_size",
            "loss",
            "val_accuracy",
            "val_loss",
            "zero_weight_share",
        ]
    )
    assert int(model.optimizer.iterations.numpy()) == 4
    # The last quarter was held out: evaluating it gives the last val_loss.
    assert model.evaluate(x[30:], y[30:], verbose=0)[0] == pytest.approx(
        history.history["val_loss"][-1], rel=1e-5
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9)
    history = model.fit(
        x, y, clean_data=clean, epochs=9, validation_data=(x, y), callbacks=stop, verbose=0
    )
    assert len(history.epoch) == 2


def test_clean_batches_are_shuffled_batched_and_repeated():
    """Every clean example is met once a pass, in batches of the asked-for size."""
    from l2rw_tf.reweighting.feeding.batches import pair_batches

    keras.utils.set_random_seed(0)
    (x, y), (cx, cy) = data(60), data(12, seed=1)
    arguments = dict(batch_size=10, steps_per_epoch=None, shuffle=True, class_weight=None)

    def sizes_and_order(clean_batch_size):
        pairs = pair_batches(x, y, None, (cx, cy), clean_batch_size=clean_batch_size, **arguments)
        batches = [element["clean"][0].numpy() for element in pairs.get_tf_dataset()]
        return [len(batch) for batch in batches], np.concatenate(batches)

    sizes, order = sizes_and_order(4)
    assert sizes == [4] * 6
    for one_pass in (order[:12], order[12:]):
        np.testing.assert_array_equal(np.sort(one_pass, 0), np.sort(cx, 0))
    assert not np.array_equal(order[:12], order[12:])
    # By default the training batch size, or the clean set where that is smaller.
    assert sizes_and_order(None)[0] == [10, 2] * 3
    assert sizes_and_order(100)[0] == [12] * 6


@pytest.mark.process
def test_saving_and_loading_the_model_and_the_bare_network(tmp_path):
    """The model trains on after loading; plain Keras loads the network without this package."""
    (x, y), clean = data(20), data(6, seed=1)
    model = l2rw_tf.ReweightingModel(network(batch_norm=True), meta_variables="head")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), LOSS, metrics=["accuracy"])
    model.fit(x, y, clean_data=clean, verbose=0)
    model.save(tmp_path / "model.keras")
    model.network.save(tmp_path / "network.keras")

    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, l2rw_tf.ReweightingModel)
    assert loaded.get_config()["meta_variables"] == "head"
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for one in (model, loaded):
        one.train_on_batch(x, y, clean_data=clean)
    for a, b in zip(model.network.variables, loaded.network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-7)

    x_file = tmp_path / "x.npy"
    np.save(x_file, x)
    script = (
        "import sys, keras, numpy as np\n"
        f"network = keras.models.load_model({str(tmp_path / 'network.keras')!r})\n"
        f"print(float(np.sum(network.predict(np.load({str(x_file)!r}), verbose=0))))\n"
        "assert 'l2rw_tf' not in sys.modules\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    untouched = keras.models.load_model(tmp_path / "network.keras").predict(x, verbose=0)
    assert float(printed.stdout.split()[-1]) == pytest.approx(float(np.sum(untouched)), rel=1e-5)


def test_summary_evaluate_and_predict_are_those_of_the_network(capsys):
    """The wrapper adds nothing to what the network gives."""
    x, y = data(20)
    model = reweighting()
    plain = keras.models.clone_model(model.network)
    plain.set_weights(model.network.get_weights())
    plain.compile("sgd", LOSS, metrics=["accuracy"])
    assert model.evaluate(x, y, verbose=0) == pytest.approx(plain.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(x, verbose=0), atol=1e-7)
    model.summary()
    assert "Total params: 67" in capsys.readouterr().out
    assert model.count_params() == plain.count_params() == 67


@pytest.mark.xla
def test_training_under_xla_is_that_without():
    """`jit_compile=True` gives the same parameters after some steps, to rounding."""
    (x, y), clean = data(30), data(6, seed=1)
    clean_data = tf.data.Dataset.from_tensors(clean)
    models = [reweighting(net=network(batch_norm=True), jit_compile=jit) for jit in (False, True)]
    for model in models:
        model.fit(x, y, batch_size=10, shuffle=False, clean_data=clean_data, epochs=3, verbose=0)
    for a, b in zip(models[0].network.variables, models[1].network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_a_loop_of_train_on_batch_recovers_from_a_fault():
    """The weights of before and a good batch: the fault is over; a second one is told again."""
    (x, y), clean = data(10), data(5, seed=1)
    broken = np.where(np.arange(10)[:, None] == 3, np.inf, x).astype("float32")
    model, good = reweighting(), None
    model.train_on_batch(x, y, clean_data=clean)
    for step in (2, 4):
        good = model.get_weights()
        with pytest.raises(l2rw_tf.TrainingDiverged, match=f"at step {step}"):
            # The check of the arrays would find it before.
            model.train_function(iter([pair_with(broken, y, clean)]))
        model.set_weights(good)
        model.train_on_batch(x, y, clean_data=clean)
    assert all(np.isfinite(value).all() for value in model.get_weights())


def pair_with(x, y, clean):
    return {"training": (tf.constant(x), tf.constant(y)), "clean": tuple(map(tf.constant, clean))}


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_training_that_diverges_stops_and_says_at_which_step(steps_per_execution):
    """A NaN of a stream at step 6 of 10."""
    x, y = data(100)
    x[53] = np.nan
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    model = reweighting(steps_per_execution=steps_per_execution)
    with pytest.raises(
        l2rw_tf.TrainingDiverged, match="at step 6.*smaller learning rate.*clipnorm"
    ) as stop:
        model.fit(stream, clean_data=data(6, seed=1), verbose=0)
    assert stop.value.step == 6
    assert "\n" not in str(stop.value)


def nan_at(example):
    x, y = data(20)
    x[example, 1] = np.nan
    return x, y


ONE_SENTENCE = {
    "no clean data": (lambda m: m.fit(*data()), "needs clean data.*clean_data=.x_clean, y_clean"),
    "empty clean arrays": (
        lambda m: m.fit(*data(), clean_data=data(0)),
        "clean_data holds no examples",
    ),
    "empty clean stream": (
        lambda m: m.fit(
            *data(), clean_data=tf.data.Dataset.from_tensor_slices(data(4)).take(0).batch(2)
        ),
        "clean_data is a data set without batches",
    ),
    "unbatched clean stream": (
        lambda m: m.fit(
            *data(), clean_data=tf.data.Dataset.from_tensor_slices((np.zeros(3), np.zeros(3)))
        ),
        r"call .batch\(...\)",
    ),
    "clean data of another type": (
        lambda m: m.fit(*data(), clean_data="clean.csv"),
        "clean_data must be .*type str",
    ),
    "clean data without labels": (
        lambda m: m.fit(*data(), clean_data=tf.data.Dataset.from_tensors((data(4)[0],))),
        "clean_data has no y",
    ),
    "other shape": (
        lambda m: m.fit(*data(), clean_data=(np.zeros((3, 5)), np.zeros(3, int))),
        r"differ in the shape of an example's x: \(5,\) against \(4,\)",
    ),
    "other structure": (
        lambda m: m.fit(*data(), clean_data=({"a": np.zeros((3, 4))}, np.zeros(3, int))),
        "differ in the structure of x: a dict with the keys .'a'. against one array",
    ),
    "text": (lambda m: m.fit(*data(), clean_data=(np.full((3, 4), "a"), np.zeros(3, int))), "text"),
    "lengths": (
        lambda m: m.fit(data(5)[0], data(6)[1], clean_data=data(4)),
        r"number of examples: \[5, 6\]",
    ),
    "clean lengths": (
        lambda m: m.fit(*data(), clean_data=(data(5)[0], data(6)[1])),
        r"clean_data differ.*\[5, 6\]",
    ),
    "label too large": (
        lambda m: m.fit(data()[0], data()[1] + 3, clean_data=data(4)),
        "y holds the label [345], but the network has 3",
    ),
    "negative clean label": (
        lambda m: m.fit(*data(), clean_data=(data(4)[0], np.array([0, 1, -7, 2]))),
        "clean_data's y holds the label -7",
    ),
    "label of a stream": (
        lambda m: m.fit(
            tf.data.Dataset.from_tensor_slices((data()[0], data()[1] + 3)).batch(5),
            clean_data=data(4),
            verbose=0,
        ),
        "label",
    ),
    "NaN": (lambda m: m.fit(*nan_at(7), clean_data=data(4)), "x holds 1 values.*in example 7"),
    "clean NaN": (
        lambda m: m.fit(*data(), clean_data=nan_at(3)),
        "clean_data's x holds 1 values.*in example 3",
    ),
    "no labels": (lambda m: m.fit(data()[0], clean_data=data(4)), "has no labels"),
    "batch size": (
        lambda m: m.fit(*data(), clean_data=data(4), clean_batch_size=0),
        "clean_batch_size must be.*got 0",
    ),
    "step without clean data": (lambda m: m.train_on_batch(*data()), "needs clean data"),
}


@pytest.mark.parametrize("mistake", ONE_SENTENCE)
def test_a_mistake_gives_one_sentence(mistake):
    """ValueError, one line, with what came and what is possible."""
    call, message = ONE_SENTENCE[mistake]
    with pytest.raises(ValueError, match=message) as error:
        call(reweighting())
    assert isinstance(error.value, l2rw_tf.UsageError)
    assert "\n" not in str(error.value)


def scalar_loss(y, p):
    return tf.reduce_mean(tf.square(tf.cast(y, p.dtype) - p))


LOSSES = {
    "dice": (keras.losses.Dice(), "'dice' gives no value per example"),
    "tversky": (keras.losses.Tversky(), "'tversky' gives no value per example"),
    "own": (scalar_loss, "'scalar_loss' gives no value per example"),
    "weighted mean": (
        keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        "mean_with_sample_weight",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_without_a_value_per_example_are_refused_by_name(name):
    loss, message = LOSSES[name]
    x = data(8)[0]
    y = np.random.default_rng(0).random((8, 3)).astype("float32")
    with pytest.raises(l2rw_tf.UsageError, match=message):
        reweighting(loss=loss).fit(x, y, clean_data=(x, y))


def test_models_that_cannot_train_are_refused():
    """Uncompiled, without a loss, without trainable variables, or not a model at all."""
    with pytest.raises(l2rw_tf.UsageError, match="Call model.compile"):
        l2rw_tf.ReweightingModel(network()).fit(*data(), clean_data=data(4))
    with pytest.raises(l2rw_tf.UsageError, match="has no loss"):
        l2rw_tf.ReweightingModel(network()).compile("sgd")
    frozen = network()
    frozen.trainable = False
    with pytest.raises(l2rw_tf.UsageError, match="no trainable variables"):
        reweighting(net=frozen).fit(*data(), clean_data=data(4))
    with pytest.raises(l2rw_tf.UsageError, match="keras.Model, got an object of type str"):
        l2rw_tf.ReweightingModel("resnet32")
    with pytest.raises(l2rw_tf.UsageError, match="'last_block', 'head' or a function.*'tail'"):
        l2rw_tf.ReweightingModel(network(), meta_variables="tail")
    with pytest.raises(l2rw_tf.UsageError, match="'finite_difference', got 'look_ahead'"):
        l2rw_tf.ReweightingModel(network(), meta_gradient="look_ahead")
    none = l2rw_tf.ReweightingModel(network(), meta_variables=lambda variable: False)
    none.compile("sgd", LOSS)
    with pytest.raises(l2rw_tf.UsageError, match="selects none of the 4"):
        none.fit(*data(), clean_data=data(4))


def test_a_subclassed_network_is_built_by_its_first_batch():
    """Without a `training` argument, and before anything is known of its inputs."""
    x = data(20)[0]
    y = x[:, :2].copy()
    model = l2rw_tf.ReweightingModel(zoo.Subclassed())
    model.compile("adam", "mse")
    history = model.fit(x, y, clean_data=(x[:5], y[:5]), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_run_eagerly_is_the_same_step():
    """For debugging, as in Keras."""
    (x, y), clean = data(10), data(5, seed=1)
    models = [reweighting(run_eagerly=eager) for eager in (False, True)]
    for model in models:
        model.train_on_batch(x, y, clean_data=clean)
    for a, b in zip(models[0].network.variables, models[1].network.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.mark.process
@pytest.mark.parametrize("way", ["variable", "file"])
def test_another_backend_is_refused_in_one_sentence(way, tmp_path):
    """Before Keras fails on a backend that is not installed."""
    script = (
        "import l2rw_tf\ntry:\n    l2rw_tf.ReweightingModel\nexcept ValueError as e:\n    print(e)"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    if way == "variable":
        environment["KERAS_BACKEND"] = "torch"
    else:
        (tmp_path / ".keras").mkdir()
        (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch"}')
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert "'torch'" in done.stdout and "KERAS_BACKEND=tensorflow" in done.stdout
    assert done.stdout.count("\n") == 1


def mean_over_the_batch(y, p):
    return tf.reduce_mean(tf.square(y - p), axis=0)


def mean_kept_as_an_axis(y, p):
    return tf.reduce_mean(tf.square(y - p), keepdims=True)


@pytest.mark.parametrize("loss", [mean_over_the_batch, mean_kept_as_an_axis])
def test_losses_that_lose_the_first_axis_are_refused_whatever_the_batch_size(loss):
    """Batch sizes are unknown while Keras traces; a value a column is not a value per example."""
    x = data(20)[0]
    with pytest.raises(l2rw_tf.UsageError, match=f"{loss.__name__}' gives no value per example"):
        reweighting(
            net=keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]), loss=loss
        ).fit(x, x, batch_size=8, clean_data=(x[:6], x[:6]), clean_batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["in the clean gradient", "in the update"])
def test_float16_recovers_from_overflow(fault):
    """The optimizer lowers its loss scale until the step fits, and training continues."""
    with half_precision():
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x = data(64)[0]
    factor = 500.0 if fault == "in the clean gradient" else 1.0
    y = (factor * x[:, :1]).astype("float32")
    inner = keras.optimizers.Adam(0.1)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**30)
    model = l2rw_tf.ReweightingModel(net)
    model.compile(optimizer, "mse")
    history = model.fit(x, y, clean_data=(x[:16], y[:16]), epochs=20, batch_size=16, verbose=0)
    assert float(optimizer.dynamic_scale) < 2.0**30
    assert history.history["clean_loss"][-1] < history.history["clean_loss"][0]
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_float16_recovers_where_u_alone_overflows():
    """The weights of Meta-Weight-Net stay finite, and the optimizer must see the overflow."""
    with half_precision():
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x = data(64)[0]
    y = x[:, :1]
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1), 2.0**12)
    model = l2rw_tf.ReweightingModel(net, weighting="meta_weight_net")
    model.compile(optimizer, "mse")
    clean = (x[:16], 1000 * y[:16])
    history = model.fit(x, y, clean_data=clean, epochs=20, batch_size=16, verbose=0)
    assert 1 <= float(optimizer.dynamic_scale) < 2.0**12
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(one.numpy()).all() for one in model.weighting.phi)


def test_inputs_reach_a_half_precision_network_uncast():
    """A float32 layer at the front sees what it would see without the wrapper."""
    with half_precision():
        layers = [
            keras.layers.Rescaling(1e-5, dtype="float32"),
            keras.layers.Dense(3, dtype="float32"),
        ]
        net = keras.Sequential([keras.Input((4,)), *layers])
        model = l2rw_tf.ReweightingModel(net)
    x = 1e5 * data(8)[0]
    np.testing.assert_allclose(model.predict(x, verbose=0), net.predict(x, verbose=0))


def test_a_list_of_callbacks_that_keras_made_is_left_alone():
    """`keras.callbacks.CallbackList` is used as it is, twice."""
    (x, y), clean = data(20), data(6, seed=1)
    model, epochs = reweighting(), []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    for _ in range(2):
        callbacks = keras.callbacks.CallbackList([watch], add_history=True, model=model)
        model.fit(x, y, clean_data=clean, callbacks=callbacks, verbose=0)
    assert epochs == [0, 0] and len(callbacks.callbacks) == 2


def test_an_output_without_weights_counts_with_ones():
    """`{"kind": s, "size": None}`, which Keras takes, means ones for the size."""
    case = zoo.two_outputs()
    model = l2rw_tf.ReweightingModel(case.network)
    model.compile("sgd", case.loss, loss_weights=case.loss_weights)
    s = np.array([0, 0, 0, 1, 1, 1], "float32")
    weights = [
        model.example_weights(*case.batch, {"kind": s, "size": size}, clean_data=case.clean_batch)
        for size in (None, np.ones(zoo.N, "float32"))
    ]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-7)
    assert weights[0][:3].any()


@pytest.mark.parametrize("kind", ["dataset", "pydataset"])
def test_clean_streams_go_on_from_epoch_to_epoch(kind):
    """Three clean batches and two steps per epoch: all three are met."""
    from l2rw_tf.reweighting.feeding.batches import pair_batches

    (x, y), clean = data(20), data(6, seed=1)
    stream = sources(*clean, 2)[kind]
    pairs = pair_batches(
        x,
        y,
        None,
        stream,
        batch_size=10,
        clean_batch_size=None,
        steps_per_epoch=None,
        shuffle=False,
        class_weight=None,
    )
    batches = pairs.get_tf_dataset()
    met = [element["clean"][0].numpy() for _ in range(3) for element in batches]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(met), 0), np.sort(np.tile(clean[0], (2, 1)), 0)
    )


def test_clean_streams_are_read_in_full_beforehand():
    """NaN in the third clean batch, a label out of range in the second."""
    (x, y), (cx, cy) = data(20), data(6, seed=1)
    cx[5, 0] = np.nan
    with pytest.raises(l2rw_tf.UsageError, match="Batch 2 of clean_data holds 1 values"):
        reweighting().fit(x, y, clean_data=sources(cx, cy, 2)["dataset"])
    cx, cy = data(6, seed=1)
    cy[2] = 9
    with pytest.raises(l2rw_tf.UsageError, match="clean_data's y holds the label 9"):
        reweighting().fit(x, y, clean_data=sources(cx, cy, 2)["dataset"])


def test_operation_without_second_derivative_names_its_layer():
    """As `fit` meets it."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 1),
            keras.layers.UpSampling2D(interpolation="bicubic", name="enlarge"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    x, y = np.zeros((8, 4, 4, 1), "float32"), np.zeros(8, int)
    with pytest.raises(
        l2rw_tf.UsageError, match="ResizeBicubic .of [^)]*enlarge.*finite_difference"
    ):
        reweighting(net=net).fit(x, y, clean_data=(x, y), verbose=0)


@pytest.mark.slow
def test_what_keras_takes_is_taken():
    """Labels (N, 1) beside (N,), tensors, text, metrics by position, layers of other dtypes."""
    (x, y), (cx, cy) = data(20), data(6, seed=1)
    model = l2rw_tf.ReweightingModel(network())
    model.compile("sgd", LOSS, None, ["accuracy"])
    assert "accuracy" in model.fit(x, y[:, None], clean_data=(cx, cy), verbose=0).history
    model = reweighting()
    model.fit(
        tf.constant(x), tf.constant(y), clean_data=(tf.constant(cx), tf.constant(cy)), verbose=0
    )
    with pytest.raises(l2rw_tf.UsageError, match="y holds the label [789]"):
        model.fit(tf.constant(x), tf.constant(y + 7), clean_data=(cx, cy), verbose=0)

    words = np.array(["yes", "no", "maybe", "yes"] * 4)
    inputs = keras.Input((), dtype="string")
    looked_up = keras.layers.StringLookup(vocabulary=["yes", "no", "maybe"], output_mode="one_hot")(
        inputs
    )
    of_text = keras.Model(inputs, keras.layers.Dense(3)(looked_up))
    labels = np.array([0, 1, 2, 0] * 4)
    text = reweighting(keras.optimizers.SGD(1.0), net=of_text)
    clean = tf.data.Dataset.from_tensor_slices((words[:3], labels[:3])).batch(3)
    history = text.fit(
        tf.data.Dataset.from_tensor_slices((words, labels)).batch(4),
        clean_data=clean,
        epochs=20,
        verbose=0,
    )
    assert history.history["clean_loss"][-1] < 0.5 * history.history["clean_loss"][0]

    mixed = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, dtype="float64"),
            keras.layers.Dense(3, dtype="float32"),
        ]
    )
    assert reweighting(net=mixed).example_weights(x, y, clean_data=(cx, cy)).sum() == pytest.approx(
        1, abs=1e-5
    )


class Unseeded(keras.layers.Layer):
    """Draws from Keras's global generator."""

    def call(self, inputs):
        return inputs * keras.ops.cast(
            keras.random.uniform(keras.ops.shape(inputs)) < 0.5, inputs.dtype
        )


def test_random_layers_without_a_seed_draw_apart_as_well():
    """Masks of the clean and of the training pass share a quarter of the inputs, not a half."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((400,)), Unseeded(), keras.layers.Dense(1, use_bias=False)])
    net.layers[1].kernel.assign(np.zeros((400, 1)))
    x, y = np.ones((1, 400), "float32"), np.ones((1, 1), "float32")
    # The residual is 2 (0 - 1), so u is 4 times the number of inputs that both masks keep.
    shared = l2rw_tf.meta_gradient(net, "mse", (x, y), (x, y)).numpy().item() / 4
    assert 70 < shared < 130


def test_a_network_with_a_loss_of_its_own_is_refused():
    """Rather than trained on another one in silence."""

    class Own(keras.Model):
        def compute_loss(self, *args, **kwargs):
            return 0.0

    with pytest.raises(l2rw_tf.UsageError, match="its own compute_loss"):
        l2rw_tf.ReweightingModel(Own())


def literal_step(net, clean, learning_rate):
    """The paper's algorithm with a second forward pass and SGD by hand; the function returns w."""
    losses_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    variables = [v.value for v in net.trainable_variables]

    @tf.function(autograph=False)
    def step(x, y):
        u = look_ahead(net, losses_of, (x, y), clean)
        w = l2rw_tf.normalize(u)
        with tf.GradientTape() as tape:
            losses = zoo.softmax_by_hand(y, net(x, training=True))
            loss = tf.reduce_sum(w * losses) + tf.add_n(net.losses)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(learning_rate * gradient)
        return w

    return step


def test_two_hundred_steps_are_those_of_the_literal_algorithm(float64):
    """In double precision, parameters and moving averages to 1e-9."""
    (x, y), clean = data(200), data(8, seed=1)
    y[:60] = 0
    x, clean = x.astype("float64"), (clean[0].astype("float64"), clean[1])
    nets = [network(batch_norm=True, regularizer=keras.regularizers.L2(1e-3)) for _ in range(2)]
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 200, 10)] * 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = reweighting(keras.optimizers.SGD(0.05), nets[0], loss)
    model.fit(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(10),
        clean_data=tf.data.Dataset.from_tensors(clean),
        epochs=10,
        verbose=0,
    )
    step = literal_step(nets[1], clean, 0.05)
    for batch in batches:
        step(*batch)
    assert len(batches) == int(model.optimizer.iterations.numpy()) == 200
    for a, b in zip(nets[0].variables, nets[1].variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-9)


def test_weights_at_every_one_of_two_hundred_steps():
    """In single precision, from the state that the literal algorithm has at the step."""
    (x, y), clean = data(200), data(8, seed=1)
    y[:60] = 0
    net = network(batch_norm=True, regularizer=keras.regularizers.L2(1e-3))
    model = reweighting(net=net)
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 200, 10)] * 10
    step = literal_step(net, clean, 0.05)
    for batch in batches:
        w = model.example_weights(*batch, clean_data=clean)
        np.testing.assert_allclose(w, step(*batch), rtol=0, atol=2e-6)
