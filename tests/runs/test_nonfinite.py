from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from l2rw_tf import ReweightingModel, TrainingDiverged
from l2rw_tf.runs.nonfinite import SkipNonfinite
from l2rw_tf.runs.resume import training_state

BATCHES, SIZE = 6, 8


def _data(left_out=(), spoil=lambda x, y: (x, y), bad=()):
    """Batches with ids, some of them left out or spoiled."""
    random = np.random.default_rng(0)
    batches = []
    for number in range(BATCHES):
        x = random.normal(size=(SIZE, 4)).astype(np.float32)
        y = random.integers(3, size=SIZE)
        if number in bad:
            x, y = spoil(x, y)
        if number not in left_out:
            batches.append((x, y, np.arange(SIZE) + number * SIZE))
    x, y, ids = (tf.constant(np.stack(part)) for part in zip(*batches, strict=True))
    examples = tf.data.Dataset.from_tensor_slices((x, y, ids))
    return examples.map(lambda x, y, ids: {"examples": (x, y), "ids": ids})


def _train(kind, batches, jit_compile=False, skip=None):
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    model = ReweightingModel(network) if kind == "reweighted" else network
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    if skip:
        skip.watch(model)
    arguments = {}
    if kind == "reweighted":
        random = np.random.default_rng(1)
        clean = random.normal(size=(6, 4)).astype(np.float32), np.arange(6) % 3
        # One batch again and again, so that one more or less changes nothing.
        arguments["clean_data"] = tf.data.Dataset.from_tensors(clean).repeat()
        arguments["track_examples"] = BATCHES * SIZE
    else:
        batches = batches.map(lambda batch: batch["examples"])
    history = model.fit(batches, shuffle=False, verbose=0, **arguments)
    return model, history.history


def _nan_input(x, y):
    return np.where(np.arange(SIZE)[:, None] == 3, np.nan, x).astype(np.float32), y


def _huge_input(x, y):
    return (x * 1e38).astype(np.float32), y


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "spoil", "bad", "jit_compile"),
    [
        ("plain", _nan_input, (2,), False),
        ("reweighted", _nan_input, (0, 3), False),
        ("reweighted", _huge_input, (4, 5), False),
        pytest.param("reweighted", _nan_input, (1,), True, marks=pytest.mark.xla),
    ],
)
def test_a_step_that_is_skipped_leaves_nothing(kind, spoil, bad, jit_compile):
    skip = SkipNonfinite(num_classes=3)
    model, logs = _train(kind, _data(spoil=spoil, bad=bad), jit_compile, skip)
    without, expected = _train(kind, _data(left_out=bad), jit_compile)
    assert skip.skipped == len(bad)
    found, wanted = (training_state.arrays_of(one) for one in (model, without))
    assert list(found) == list(wanted)
    # XLA compiles another program, which rounds in its own way.
    tolerance = 1e-5 if jit_compile else 0
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], tolerance, tolerance, err_msg=name)
    for name, values in logs.items():
        assert values == pytest.approx(expected[name], rel=tolerance, abs=0), name


@pytest.mark.slow
def test_good_steps_are_not_skipped():
    skip = SkipNonfinite(num_classes=3)
    model, logs = _train("reweighted", _data(), skip=skip)
    assert skip.skipped == 0
    assert logs == _train("reweighted", _data())[1]


def test_without_it_the_training_ends():
    with pytest.raises(TrainingDiverged, match="step 3"):
        _train("reweighted", _data(spoil=_nan_input, bad=(2,)))
