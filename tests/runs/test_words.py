from __future__ import annotations

import pytest

from l2rw_tf.data.settings import DataSettings
from l2rw_tf.runs import results, words
from tests import made_up


def test_the_banner_names_both_data_sets_and_the_reason():
    banner = words.fallback_banner("cifar10", "digits", "no network " * 20)
    lines = banner.splitlines()
    assert {len(line) for line in lines} == {80}
    assert "cifar10" in banner and "digits" in banner and "no network" in banner


def test_the_closing_table_is_aligned():
    trainings = [
        made_up.run_results(method=method, test_accuracy=accuracy)
        for method, accuracy in (("plain", 0.6), ("l2rw", 0.96944))
    ]
    table = words.closing_table(trainings, {"plain": "plain", "l2rw": "reweighted"})
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["plain", "60.0%", "1.2500", "12.3", "s", "12.3", "ms"]
    assert lines[2].startswith("reweighted") and "96.9%" in lines[2]


@pytest.mark.parametrize(
    ("labels", "accuracy", "columns", "said"),
    [
        ("trusted", 0.6, ["accuracy"], "accuracy: on 30 held-out trusted examples, ±"),
        ("as given", 0.6, ["accuracy", "given", "test", "labels"], "on 8 held-out trusted"),
        ("as given", None, ["accuracy", "given", "test", "labels"], "accuracy: not known, because"),
    ],
)
def test_the_closing_table_says_what_accuracy_is_on(labels, accuracy, columns, said):
    result = made_up.run_results(
        test_labels=labels,
        trusted_accuracy=accuracy,
        trusted_accuracy_error=accuracy and results.standard_error(accuracy, 8),
        examples={"test": 30, "held-out trusted": 8},
    )
    head, row, _, *note = words.closing_table([result], {"l2rw": "reweighted"}).splitlines()
    assert head.split()[: len(columns)] == columns and said in " ".join(note)
    assert ("60.0% ± 17.4%" in row) is (accuracy is not None)
    assert ("agreement with them is not accuracy" in " ".join(note)) is (labels == "as given")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (0.60, 0.64, "+4.0% ± 5.0%, within its standard error"),
        (0.60, 0.51, "-9.0% ± 5.0%"),
        (None, 0.51, "not known"),
    ],
)
def test_a_difference_is_held_against_its_standard_error(before, now, expected):
    runs = [
        made_up.run_results(
            test_labels="as given", trusted_accuracy=accuracy, trusted_accuracy_error=error
        )
        for accuracy, error in ((before, 0.03), (now, 0.04))
    ]
    assert words.difference(*runs) == expected


def test_the_standard_error_is_binomial_and_never_nothing():
    assert results.standard_error(0.8, 10_000) == pytest.approx(0.004, rel=1e-3)
    # All of four right: as if it had been five of six.
    assert results.standard_error(1.0, 4) == pytest.approx((5 / 36 / 4) ** 0.5)


@pytest.mark.parametrize(
    ("settings", "share", "expected"),
    [
        ({}, None, "labels as they are"),
        (
            {"noise_type": "pair", "noise_ratio": 0.4},
            0.36,
            "pair flip of 0.4 of the labels (36.0% wrong)",
        ),
    ],
)
def test_the_noise_is_put_into_words(settings, share, expected):
    assert words.noise_in_words(DataSettings(**settings), share) == expected
