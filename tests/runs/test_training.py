from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf.data import pipeline, prepared_data
from l2rw_tf.errors import TrainingDiverged, UsageError
from l2rw_tf.runs import phases, training
from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.tables import METRICS

SETTINGS = RunConfig(
    noise_type="background",
    noise_ratio=0.4,
    clean_per_class=2,
    network="mlp",
    weight_decay=0.01,
    epochs=3,
    batch_size=20,
    learning_rate=0.1,
    momentum=0.9,
    lr_decay_epochs=(2,),
    lr_decay_factor=0.5,
)
STEPS_AN_EPOCH = 6  # 130 - 6 clean - 13 held out = 111 examples in batches of 20


def _train(method, settings=SETTINGS, **arguments):
    return training.train(
        method, settings, prepared_data.prepare(settings, settings.seed), **arguments
    )


def test_plain_training_equals_a_loop_by_hand(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    network = training.build_network(SETTINGS, data)
    parameters = [tf.Variable(variable) for variable in network.trainable_variables]
    velocities = [tf.zeros_like(parameter) for parameter in parameters]
    kernels = [i for i, v in enumerate(network.trainable_variables) if v.name == "kernel"]
    batches = iter(
        pipeline.training_batches(
            data.splits.train, data.preprocessing, batch_size=20, seed=SETTINGS.seed
        )
    )
    for step in range(3 * STEPS_AN_EPOCH):
        x, y = next(batches)
        rate = 0.1 if step < 2 * STEPS_AN_EPOCH else 0.05
        with tf.GradientTape() as tape:
            logits, _ = network.stateless_call(
                [p.read_value() for p in parameters], [], x, training=True
            )
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            decay = sum(tf.reduce_sum(parameters[i] ** 2) for i in kernels)
            loss = tf.reduce_mean(losses) + 0.01 / 2 * decay
        for i, gradient in enumerate(tape.gradient(loss, parameters)):
            velocities[i] = 0.9 * velocities[i] - rate * gradient
            parameters[i].assign_add(velocities[i])

    trained = _train("plain")
    assert trained.steps == 3 * STEPS_AN_EPOCH
    for found, expected in zip(trained.network.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-4, atol=2e-5)


def test_steps_and_evaluation_are_built_once(blobs, monkeypatch):
    """Python passes through them while TensorFlow traces, and in no later epoch again."""
    passes = []
    for name in ("train_step", "test_step"):
        run = getattr(keras.Model, name)
        monkeypatch.setattr(
            keras.Model,
            name,
            lambda self, data, name=name, run=run: (passes.append(name), run(self, data))[1],
        )
    counts = []
    _train("plain", listeners=[lambda row: counts.append(len(passes))])
    assert len(counts) == 3
    assert 0 < counts[0] == counts[-1]


def test_methods_start_from_the_same_parameters(blobs):
    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    first, second = (training.build_network(SETTINGS, data).get_weights() for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    other = training.build_network(dataclasses.replace(SETTINGS, seed=1), data).get_weights()
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("method", ["l2rw", "plain"])
def test_the_rows_are_those_of_the_trained_network(blobs, method):
    seen = []
    trained = _train(method, listeners=[lambda row: seen.append(row["epoch"])])
    assert seen == [1, 2, 3]
    assert [row["step"] for row in trained.epochs] == [6, 12, 18]
    assert [round(row["learning_rate"], 6) for row in trained.epochs] == [0.1, 0.1, 0.05]
    weighting = {"clean_loss", "effective_batch_size", "zero_weight_share"}
    missing = {"trusted_accuracy"} | (weighting if method == "plain" else set())
    assert set(trained.epochs[-1]) == set(METRICS) - missing

    data = prepared_data.prepare(SETTINGS, SETTINGS.seed)
    parts = {"test": data.splits.test, "val": data.splits.validation, "clean": data.splits.clean}
    for prefix, part in parts.items():
        logits = trained.network.predict(np.asarray(data.preprocessing(part.x)), verbose=0)
        logits = logits.astype(np.float64)
        log_sum = np.log(np.exp(logits).sum(axis=1))
        loss = (log_sum - logits[np.arange(len(part)), part.y]).mean()
        accuracy = (logits.argmax(axis=1) == part.y).mean()
        if prefix != "clean":
            assert trained.epochs[-1][f"{prefix}_loss"] == pytest.approx(loss, rel=1e-4)
        assert trained.epochs[-1][f"{prefix}_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_epochs_between_evaluations_are_trained_the_same_and_have_no_accuracy(
    blobs, early_stopping
):
    every = dataclasses.replace(SETTINGS, epochs=5, early_stopping=early_stopping)
    all_epochs = _train("l2rw", every).epochs
    trained = _train("l2rw", dataclasses.replace(every, evaluate_every=3))
    evaluated = {"test_loss", "test_accuracy", "val_loss", "val_accuracy", "clean_accuracy"}
    for row, other in zip(all_epochs, trained.epochs, strict=True):
        expected = set(row) - (set() if row["epoch"] in (3, 5) else evaluated)
        assert set(other) == expected
        assert all(row[name] == other[name] for name in expected - {"seconds"})
    if early_stopping:
        best = max((3, 5), key=lambda epoch: all_epochs[epoch - 1]["val_accuracy"])
        assert trained.final["epoch"] == best


@pytest.mark.slow
def test_reweighting_comes_out_ahead(blobs):
    settings = dataclasses.replace(
        SETTINGS, noise_ratio=0.6, epochs=15, learning_rate=0.02, lr_decay_epochs=()
    )
    plain, reweighted = (_train(name, settings).epochs[-1] for name in ("plain", "l2rw"))
    assert reweighted["test_accuracy"] > 0.95 > plain["test_accuracy"] + 0.1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows(blobs):
    def rows():
        return [{**row, "seconds": 0} for row in _train("l2rw").epochs]

    assert rows() == rows()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"steps_per_execution": 4},
        {"optimizer": "adam", "clipnorm": 1.0, "meta_variables": "head"},
        {"optimizer": "adamw", "meta_gradient": "finite_difference"},
        {"meta_gradient": "forward"},
        pytest.param({"jit_compile": "true", "clean_batch_size": 4}, marks=pytest.mark.xla),
        {"dropout": 0.5, "validation_fraction": 0.0},
        {"balanced_clean": False, "clean_per_class": None, "num_clean": 7, "clean_in_train": True},
    ],
    ids=str,
)
def test_every_setting_trains(blobs, settings):
    trained = _train(
        "l2rw", dataclasses.replace(SETTINGS, epochs=1, lr_decay_epochs=(), **settings)
    )
    assert np.isfinite(trained.epochs[-1]["test_loss"])
    assert trained.step_seconds > 0 and trained.train_seconds > 0


@pytest.mark.slow
def test_steps_per_execution_change_nothing(blobs):
    alone, together = (
        _train("l2rw", dataclasses.replace(SETTINGS, learning_rate=0.01, steps_per_execution=steps))
        for steps in (1, 4)
    )
    assert alone.steps == together.steps
    for a, b in zip(alone.network.get_weights(), together.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_adamw_decays_and_the_kernels_have_no_penalty(blobs):
    settings = dataclasses.replace(SETTINGS, optimizer="adamw")
    network = training.build_network(settings, prepared_data.prepare(settings, settings.seed))
    assert not network.losses
    optimizer = phases.make_optimizer(settings, 0.1, settings.weight_decay)
    assert isinstance(optimizer, keras.optimizers.AdamW) and optimizer.weight_decay == 0.01


@pytest.mark.parametrize("method", ["plain", "l2rw"])
def test_a_training_that_diverges_is_ended(blobs, method):
    settings = dataclasses.replace(SETTINGS, learning_rate=1e25, lr_decay_epochs=(), epochs=50)
    with pytest.raises(TrainingDiverged, match="learning.rate") as caught:
        _train(method, settings)
    assert 1 <= caught.value.step < 50 * STEPS_AN_EPOCH
    assert str(caught.value.step) in str(caught.value)


def test_a_network_that_does_not_fit_the_data_is_refused(blobs):
    settings = dataclasses.replace(SETTINGS, network="lenet")
    with pytest.raises(UsageError, match="lenet"):
        training.build_network(settings, prepared_data.prepare(settings, settings.seed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings", "steps"),
    [
        # Within an epoch, at its end, and at the end of all.
        (
            "l2rw",
            {"optimizer": "adam", "dropout": 0.5, "epochs": 2},
            (2, 6, 12),
        ),
        ("l2rw", {"steps_per_execution": 3, "dtype_policy": "mixed_float16"}, (9,)),
        # In each phase, and between the two last.
        ("s_model_conf", {"early_stopping": True, "finetune_steps": 4}, (4, 7, 18, 20)),
        # A matrix from the network of the first phase, targets of the examples, a network beside.
        ("glc", {"epochs": 2}, (4, 8)),
        ("elr", {"epochs": 2}, (8,)),
        ("l2rw", {"epochs": 2, "weighting": "meta_weight_net"}, (8,)),
    ],
    ids=[
        "dropout, adam",
        "steps in groups and loss scaling",
        "three phases",
        "glc",
        "elr",
        "meta_weight_net",
    ],
)
def test_a_training_goes_on_from_any_checkpoint(blobs, method, settings, steps):
    settings = dataclasses.replace(SETTINGS, checkpoint_minutes=1e-9, **settings)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.dtype_policy)
    try:
        checkpoints = []
        undisturbed = _train(method, settings, save=checkpoints.append)
        for step in steps:
            (saved,) = (one for one in checkpoints if one.step == step)
            again = []
            resumed = _train(method, settings, saved=_through_json(saved), save=again.append)
            _check_same_training(resumed, undisturbed)
            left = [one.step for one in checkpoints if one.step > step]
            assert [one.step for one in again] == left
    finally:
        keras.config.set_dtype_policy(policy)


def _through_json(saved):
    return dataclasses.replace(saved, progress=json.loads(json.dumps(saved.progress)))


def _check_same_training(one, other):
    for a, b in zip(one.network.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [[{**row, "seconds": 0} for row in training.epochs] for training in (one, other)]
    assert rows[0] == rows[1]
    assert {**one.final, "seconds": 0} == {**other.final, "seconds": 0}
    assert one.steps == other.steps and one.step_seconds > 0


def test_a_checkpoint_is_never_of_parameters_that_are_not_finite(blobs):
    checkpoints = []
    # The first phase goes well; in the fine-tuning a finite loss makes infinite parameters.
    settings = dataclasses.replace(SETTINGS, finetune_steps=3, finetune_learning_rate=1e38)
    with pytest.raises(TrainingDiverged) as caught:
        _train("plain", settings, save=checkpoints.append)
    assert caught.value.step in (19, 20)
    assert [one.step for one in checkpoints] == [6, 12, 18]
