"""The variables of a training, given back to it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from l2rw_tf.errors import RunFailed
from l2rw_tf.runs.resume.training_state import Resume, arrays_of


def trained(width):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(momentum=0.9), loss)
    model.fit(np.ones((4, 2)), np.zeros(4, int), verbose=0)
    return model


def resume(model, arrays):
    callback = Resume(arrays, within_epoch=False, num_classes=3)
    callback.set_model(model)
    callback.on_train_begin()


def test_a_training_is_taken_up():
    model, other = trained(3), trained(3)
    resume(model, arrays_of(other))
    variables = (*model.variables, *model.optimizer.variables)
    expected = (*other.variables, *other.optimizer.variables)
    for one, wanted in zip(variables, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), wanted.numpy())


def test_a_checkpoint_that_does_not_fit_is_refused():
    model = trained(3)
    with pytest.raises(RunFailed, match=r"shape \(2, 4\) for .*kernel of shape \(2, 3\)"):
        resume(model, arrays_of(trained(4)))
    without = dict(list(arrays_of(model).items())[:1])
    with pytest.raises(RunFailed, match=r"has nothing for .*bias .*new directory"):
        resume(model, without)
