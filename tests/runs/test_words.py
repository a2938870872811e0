from __future__ import annotations

import pytest

from l2rw_tf.data.settings import DataSettings
from l2rw_tf.runs import words
from tests import made_up


def test_the_banner_names_both_data_sets_and_the_reason():
    banner = words.fallback_banner("cifar10", "digits", "no network " * 20)
    lines = banner.splitlines()
    assert {len(line) for line in lines} == {80}
    assert "cifar10" in banner and "digits" in banner and "no network" in banner


def test_the_closing_table_is_aligned():
    results = [
        made_up.run_results(method=method, test_accuracy=accuracy)
        for method, accuracy in (("plain", 0.6), ("l2rw", 0.96944))
    ]
    table = words.closing_table(results, {"plain": "plain", "l2rw": "reweighted"})
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["plain", "60.0%", "1.2500", "12.3", "s", "12.3", "ms"]
    assert lines[2].startswith("reweighted") and "96.9%" in lines[2]


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
