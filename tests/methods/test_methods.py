from __future__ import annotations

import dataclasses
import itertools
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from l2rw_tf import methods
from l2rw_tf.data import pipeline, prepared_data
from l2rw_tf.errors import UsageError
from l2rw_tf.methods import METHODS
from l2rw_tf.methods.method import Method
from l2rw_tf.runs import training
from l2rw_tf.runs.config import RunConfig

SETTINGS = RunConfig(
    noise_type="background",
    noise_ratio=0.4,
    background_class=1,
    clean_per_class=2,
    network="mlp",
    epochs=4,
    batch_size=20,
    learning_rate=0.1,
    momentum=0.9,
    lr_decay_epochs=(3,),
    finetune_learning_rate=0.01,
)
STEPS_AN_EPOCH = 6


def _train(method, **settings):
    config = dataclasses.replace(SETTINGS, **settings)
    return training.train(method, config, prepared_data.prepare(config, config.seed))


def _batches(method, data, config=SETTINGS, start_step=0):
    return training.batches_of(config, data).training(methods.get(method), start_step)


def _weights(method, data, config=SETTINGS):
    """Returns the labels and weights of the first batches of a method."""
    batches = _batches(method, data, config)
    return [(y.numpy(), s.numpy()) for _, y, s in itertools.islice(batches, 8)]


def test_every_method_is_there_and_says_what_it_is():
    assert len({entry.title for entry in METHODS.values()}) == len(METHODS) == 18
    for name, entry in METHODS.items():
        assert isinstance(methods.get(name), Method) and entry.summary


def test_a_new_method_is_a_file_and_a_line(blobs, monkeypatch):
    file = types.ModuleType("l2rw_tf.methods.a_toy")
    # Trains on the first class alone.
    file.toy = Method(sample_weights=lambda seed, data: lambda step, y: tf.cast(y == 0, "float32"))
    monkeypatch.setitem(sys.modules, file.__name__, file)
    monkeypatch.setitem(METHODS, "toy", methods.Entry("toy", "one class alone", "a_toy"))
    trained = _train("toy")
    rows = np.asarray(prepared_data.prepare(SETTINGS, 0).preprocessing(blobs.test.x))
    assert (trained.network.predict(rows, verbose=0).argmax(axis=1) == 0).all()


def test_random_weights_are_those_of_step_and_seed(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    drawn = _weights("random", data)
    for y, weights in drawn:
        # Keras divides by the batch's size, so that the update is the sum of w times the losses.
        assert weights.sum() / len(y) == pytest.approx(1)
        assert (weights >= 0).all() and (weights == 0).any()
    assert len({tuple(weights) for _, weights in drawn}) == len(drawn)
    resumed = _batches("random", data, start_step=3)
    for (_, y, weights), (there_y, there) in zip(resumed, drawn[3:], strict=False):
        np.testing.assert_array_equal(y, there_y)
        np.testing.assert_array_equal(weights, there)


def test_proportion_weighs_by_inverse_frequency(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    labels = data.splits.train.y
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    for y, weights in _weights("proportion", data):
        np.testing.assert_allclose(weights, expected[y], rtol=1e-6)


def test_the_oracle_weighs_classes_by_their_true_size(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    train = data.splits.train
    for y, weights in _weights("weighted", data):
        for label, weight in zip(y, weights, strict=True):
            true, given = np.sum(train.true_y == label), np.sum(train.y == label)
            assert weight == pytest.approx(true / given)


def test_the_oracle_needs_the_truth(blobs):
    config = RunConfig(method="weighted", clean_per_class=2)
    data = prepared_data.prepare(config, config.seed)
    with pytest.raises(UsageError, match="weighted needs the true labels"):
        training.check(config, data)


def test_resampling_gives_balanced_batches(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    assert max(data.training_class_counts) > 2 * min(data.training_class_counts)
    batches = _batches("resample", data)
    for _, y in itertools.islice(batches, 8):
        counts = np.bincount(y, minlength=3)
        assert counts.max() - counts.min() <= 1


def test_clean_only_sees_clean_examples_alone(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    clean = {tuple(x) for x in np.asarray(data.preprocessing(data.splits.clean.x))}
    batches = _batches("clean_only", data)
    for x, _ in itertools.islice(batches, 8):
        assert {tuple(row) for row in x.numpy()} == clean


def test_hard_mining_looks_for_the_class_with_the_most_labels(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    loss = methods.get("hard_mining").loss(data)
    y = tf.constant([1, 1, 1, 0])
    assert loss.kept(y, tf.constant([0.1, 0.3, 0.2, 0.0])).numpy().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("method", "beta"),
    [("reed_soft", 0.95), ("reed_hard", 0.8)],
)
def test_bootstrapping_has_its_papers_constants(blobs, method, beta):
    loss = methods.get(method).loss(prepared_data.prepare(SETTINGS, SETTINGS.seed))
    even = np.log(2) * np.ones(1)
    assert beta == {"reed_soft": 0.95, "reed_hard": 0.8}[method]
    # Two classes alike, the label a third: what is predicted costs log 2, the label much.
    found = loss.call(tf.constant([2]), tf.constant([[0.0, 0.0, -50.0]]))
    np.testing.assert_allclose(found, beta * (50 + even) + (1 - beta) * even, rtol=1e-5)


def test_the_adaptation_layer_starts_where_its_method_says(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    network = training.build_network(SETTINGS, data)
    start = {}
    for method in ("s_model", "s_model_conf"):
        layer = methods.get(method).model(network, SETTINGS, data).layers[-1]
        start[method] = np.asarray(keras.ops.softmax(layer.transition_logits))
    np.testing.assert_allclose(start["s_model"], np.where(np.eye(3), 0.9, 0.05), rtol=1e-5)
    x = np.asarray(data.preprocessing(data.splits.train.x))
    predicted = np.asarray(keras.ops.softmax(network(x)))
    share = predicted.T @ np.eye(3)[data.splits.train.y]
    share /= share.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(start["s_model_conf"], share, atol=5e-4)


@pytest.mark.slow
def test_the_confusion_is_that_of_the_first_half_of_the_epochs(blobs):
    rows = _train("s_model_conf").epochs
    assert [row["phase"] for row in rows] == ["first", "first", "main", "main"]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [6, 12, 18, 24]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.1, 0.1, 0.01])
    plain = _train("plain").epochs
    for one, other in zip(rows[:2], plain, strict=False):
        assert one["test_loss"] == other["test_loss"]
    assert rows[2]["test_loss"] != plain[2]["test_loss"]


def test_two_phases_need_two_epochs(blobs):
    config = dataclasses.replace(SETTINGS, method="s_model_conf", epochs=1)
    with pytest.raises(UsageError, match="epochs must be at least 2, got 1"):
        training.check(config, prepared_data.prepare(config, config.seed))


@pytest.mark.slow
def test_fine_tuning_is_plain_training_on_the_clean_data(blobs):
    steps = 7
    trained = _train("plain")
    tuned = _train("plain", finetune_steps=steps)
    assert [row["phase"] for row in tuned.epochs] == ["main"] * 4 + ["finetune"]
    assert tuned.steps == trained.steps + steps
    assert tuned.final == tuned.epochs[-1] and tuned.final["learning_rate"] == 0.01
    assert tuned.epochs[3]["test_loss"] == trained.final["test_loss"]

    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    network = trained.network
    network.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y = np.asarray(data.preprocessing(data.splits.clean.x)), data.splits.clean.y
    network.fit(x, y, batch_size=len(y), epochs=steps, verbose=0)
    for found, expected in zip(tuned.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_fine_tuning_goes_on_at_the_rate_that_training_ended_with(blobs):
    tuned = _train("plain", finetune_steps=2, finetune_learning_rate=None)
    assert tuned.final["learning_rate"] == pytest.approx(0.01)


STOPPED = {"epochs": 8, "learning_rate": 0.3, "lr_decay_epochs": (), "seed": 2}


@pytest.mark.slow
def test_early_stopping_goes_back_to_the_epoch_that_held_out_labels_prefer(blobs):
    stopped = _train("plain", early_stopping=True, **STOPPED)
    best = int(np.argmax([row["val_accuracy"] for row in stopped.epochs]))
    assert best < 7 and stopped.final == stopped.epochs[best]
    # The same run, ended after that epoch.
    shorter = _train("plain", **{**STOPPED, "epochs": best + 1})
    weights = zip(stopped.network.get_weights(), shorter.network.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in weights)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["l2rw", "s_model"])
def test_early_stopping_goes_back_with_the_network_alone(blobs, method):
    config = dataclasses.replace(SETTINGS, learning_rate=0.02, early_stopping=True)
    data = prepared_data.prepare(config, config.seed)
    stopped = training.train(method, config, data)
    x = np.asarray(data.preprocessing(blobs.test.x))
    accuracy = np.mean(stopped.network.predict(x, verbose=0).argmax(axis=1) == blobs.test.y)
    assert stopped.final["test_accuracy"] == pytest.approx(accuracy)


@pytest.mark.slow
@pytest.mark.parametrize(("on", "column"), [("held_out", "val"), ("clean", "clean")])
def test_early_stopping_comes_before_fine_tuning(blobs, on, column):
    flags = {"early_stopping": True, "early_stopping_on": on}
    tuned = _train("plain", **flags, finetune_steps=1, **STOPPED)
    best = int(np.argmax([row[f"{column}_accuracy"] for row in tuned.epochs[:-1]]))
    shorter = _train("plain", finetune_steps=1, **{**STOPPED, "epochs": best + 1})
    assert tuned.final["test_loss"] == shorter.final["test_loss"]


def test_batches_are_the_same_for_every_method_that_shuffles(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    reference = pipeline.training_batches(
        data.splits.train, data.preprocessing, batch_size=20, seed=SETTINGS.seed
    )
    expected = [y.numpy().tolist() for _, y in itertools.islice(reference, 3)]
    for name in ("plain", "random", "proportion", "s_model"):
        batches = _batches(name, data)
        assert [batch[1].numpy().tolist() for batch in itertools.islice(batches, 3)] == expected


@pytest.mark.parametrize(
    ("settings", "weighting", "meta_variables"),
    [
        ({}, "paper", "all"),
        ({"meta_variables": "head"}, "paper", "head"),
        ({"weighting": "meta_weight_net"}, "meta_weight_net", "all"),
    ],
    ids=str,
)
def test_weighting_and_meta_variables_are_the_settings(settings, weighting, meta_variables, blobs):
    config = dataclasses.replace(SETTINGS, **settings)
    data = prepared_data.prepare(config, config.seed)
    model = methods.get("l2rw").model(training.build_network(config, data), config, data)
    assert model.weighting.name == weighting
    assert model.get_config()["meta_variables"] == meta_variables
