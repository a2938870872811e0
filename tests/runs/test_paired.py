from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from l2rw_tf.runs import words
from l2rw_tf.runs.paired import Difference, difference
from tests import made_up

TITLES = {"plain": "plain", "l2rw": "reweighted"}


def test_the_standard_error_is_that_of_repeated_draws():
    random = np.random.default_rng(0)
    # Both right, one alone, the other one alone, neither.
    draws = random.choice(4, size=(4000, 500), p=[0.5, 0.2, 0.1, 0.2])
    found = [difference(draw <= 1, (draw == 0) | (draw == 2)) for draw in draws]
    differences = [one.accuracy for one in found]
    assert np.mean(differences) == pytest.approx(0.1, abs=0.002)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(
        np.std(differences), rel=0.03
    )


def test_networks_that_agree_everywhere_are_no_different():
    right = np.array([True, False, True])
    found = difference(right, right)
    assert found.accuracy == 0 and found.standard_error > 0
    assert not found.is_difference(found.accuracy)


def _results(accuracy, plain, error, chosen=None, training=None, **changes):
    found = (
        None
        if error is None
        else Difference(accuracy=accuracy - plain, standard_error=error, examples=400)
    )
    other = made_up.run_results(
        method="plain",
        test_accuracy=plain,
        training_accuracy=training,
        validation_accuracy=0.35,
        chosen_by_clean=None if chosen is None else made_up.chosen_epoch(chosen),
        **changes,
    )
    return made_up.run_results(test_accuracy=accuracy, plain=other, against_plain=found, **changes)


@pytest.mark.parametrize(
    ("results", "said", "never"),
    [
        (
            _results(0.6, 0.5, 0.02),
            "Better on 400 test examples: reweighted, by 10.0% ± 2.0%",
            "il",
        ),
        (_results(0.5, 0.6, 0.02), "plain, by 10.0% ± 2.0% (5.0 standard errors)", "chance"),
        (_results(0.52, 0.5, 0.02), "No significant difference on 400 test examples", "Better"),
        (_results(0.5, 0.4, 0.02, chosen=0.6), "Better still: plain stopped at epoch 2", "chance"),
        (_results(0.5, 0.4, 0.02, chosen=0.53), "Not significantly worse: plain stopped", "still"),
        (_results(0.5, 0.4, 0.02, chosen=0.47), "Not significantly worse: plain stopped", "still"),
        (_results(0.5, 0.5, 0.02), "No difference on 400 test examples", "Better"),
        (_results(0.5, 0.4, 0.02, chosen=0.3), "reweighted, by 10.0%", "still"),
        (_results(0.6, 0.5, None, test_labels="as given"), "is not known", "Better"),
        (_results(0.5, 0.5, 0.02, training=0.38), "memorized few labels (accuracy 38.0%", "Better"),
        (_results(0.5, 0.6, 0.02, training=0.38), "memorized few labels", "No "),
        (_results(0.6, 0.5, 0.02, training=0.38), "Better on", "memorized"),
        (_results(0.5, 0.5, 0.02, training=0.9), "No difference", "memorized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_better_training_is_named_with_its_standard_errors(results, said, never):
    sentence = words.against_plain(results, TITLES)
    assert said in sentence and never not in sentence


@pytest.mark.parametrize(
    ("training", "held_out", "expected"),
    [
        (0.41, 0.38, False),  # 40% wrong, nothing memorized
        (0.62, 0.55, False),
        (1.0, 0.3, True),  # 40% wrong
        (1.0, 0.92, True),  # 4% wrong
        (0.85, 0.55, True),
        (0.6, 0.25, True),
        (1.0, 1.0, True),
        (0.97, 0.95, False),
        (None, 0.5, None),
        (0.9, None, None),
    ],
)
def test_a_network_has_memorized_if_its_odds_on_training_labels_are_high(
    training, held_out, expected
):
    results = made_up.run_results(training_accuracy=training, validation_accuracy=held_out)
    assert results.has_memorized is expected


def test_a_training_alone_is_not_compared():
    assert words.against_plain(made_up.run_results(), TITLES) == ""
    alone = dataclasses.replace(_results(0.6, 0.5, 0.02), method="plain")
    assert words.against_plain(alone, TITLES) == ""
