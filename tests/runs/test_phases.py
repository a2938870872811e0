from __future__ import annotations

import dataclasses

import pytest

from l2rw_tf.runs import phases
from l2rw_tf.runs.config import TrainingSettings

SETTINGS = TrainingSettings(
    epochs=3, batch_size=20, learning_rate=0.1, lr_decay_epochs=(2,), lr_decay_factor=0.5
)
STEPS_AN_EPOCH = 6  # 111 examples in batches of 20


@pytest.mark.parametrize(
    ("max_steps", "expected"), [(None, (6, 3)), (4, (4, 1)), (6, (6, 1)), (13, (6, 2))]
)
def test_the_length_is_whole_epochs_within_max_steps(max_steps, expected):
    settings = dataclasses.replace(SETTINGS, max_steps=max_steps)
    assert phases.length(settings, 111) == expected


@pytest.mark.parametrize(
    ("asked", "steps", "expected"), [(1, 6, 1), (4, 6, 3), (6, 6, 6), (100, 6, 6), (10, 13, 1)]
)
def test_executions_divide_the_epoch(asked, steps, expected):
    assert phases.steps_per_execution(asked, steps) == expected


@pytest.mark.parametrize("decays", [(), (1,), (1, 2.5), (0.5, 2, 2.5)])
def test_the_rate_decays_at_the_steps_of_the_epochs(decays):
    settings = dataclasses.replace(SETTINGS, lr_decay_epochs=decays)
    schedule = phases.schedule(settings, STEPS_AN_EPOCH)
    for step in range(3 * STEPS_AN_EPOCH):
        expected = 0.1 * 0.5 ** sum(step >= epoch * STEPS_AN_EPOCH for epoch in decays)
        found = schedule(step) if callable(schedule) else schedule
        assert float(found) == pytest.approx(expected)


def test_progress_knows_the_steps_of_every_epoch():
    settings = dataclasses.replace(SETTINGS, finetune_steps=2)
    assert phases.steps_of_epochs("l2rw", settings, 111) == [6, 6, 6, 2]
    assert phases.steps_of_epochs("s_model_conf", settings, 111) == [6, 6, 6, 2]
