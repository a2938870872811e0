from __future__ import annotations

import io

import pytest

from l2rw_tf.runs import progress, words
from l2rw_tf.runs.config import RunConfig
from tests import made_up

ROW = {"loss": 0.5, "accuracy": 0.9, "test_accuracy": 0.8, "seconds": 1.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _show(stream, kind, epochs, steps=3):
    display = progress.Progress("plain", kind, stream)
    display.set_params({"epochs": epochs, "steps": steps})
    for epoch in range(epochs):
        display.on_epoch_begin(epoch)
        for step in range(steps):
            display.on_train_batch_end(step)
        display.show({**ROW, "epoch": epoch + 1})
    return stream.getvalue()


@pytest.mark.parametrize("epochs", [1, 7, 60, 178, 1000])
def test_nobody_watching_gets_a_few_whole_lines(epochs):
    shown = _show(io.StringIO(), "auto", epochs)
    lines = shown.splitlines()
    assert "\r" not in shown and "\033" not in shown
    assert len(lines) <= 25 and len(lines) >= min(epochs, 12)
    assert f" {epochs}/{epochs} " in lines[-1]
    assert "test  80.0%" in lines[-1]


def test_a_terminal_gets_a_line_an_epoch():
    shown = _show(Terminal(), "auto", 40)
    assert shown.count("\n") == 40 and "\r" in shown


def test_the_status_line_counts_steps():
    display = progress.Progress("plain", "bar", stream := io.StringIO())
    display.set_params({"epochs": 2, "steps": 9})
    display.on_epoch_begin(0)
    display._last_output -= 1
    display.on_train_batch_end(4)
    assert "step 5/9" in stream.getvalue()


def test_none_shows_nothing():
    assert _show(Terminal(), "none", 3) == ""


def test_held_out_accuracy_is_shown_where_there_is_one():
    display = progress.Progress("plain", "lines", stream := io.StringIO())
    display.set_params({"epochs": 1})
    display.on_epoch_begin(0)
    display.show({**ROW, "epoch": 1, "val_accuracy": 0.123})
    assert "held-out  12.3%" in stream.getvalue()


def test_the_banner_names_both_data_sets_and_the_reason():
    banner = progress.fallback_banner("cifar10", "digits", "no network " * 20)
    lines = banner.splitlines()
    assert {len(line) for line in lines} == {80}
    assert "cifar10" in banner and "digits" in banner and "no network" in banner


def test_the_closing_table_is_aligned():
    results = [
        made_up.run_results(method=method, test_accuracy=accuracy)
        for method, accuracy in (("plain", 0.6), ("l2rw", 0.96944))
    ]
    table = progress.closing_table(results, {"plain": "plain", "l2rw": "reweighted"})
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
    assert words.noise_in_words(RunConfig(**settings), share) == expected
