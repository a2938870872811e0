from __future__ import annotations

import io

import pytest

from l2rw_tf.runs import progress

ROW = {"loss": 0.5, "accuracy": 0.9, "test_accuracy": 0.8, "seconds": 1.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _show(stream, kind, epochs, steps=3):
    display = progress.Progress("plain", [steps] * epochs, kind, stream)
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
    display = progress.Progress("plain", [9, 9], "bar", stream := io.StringIO())
    display.set_params({"epochs": 2, "steps": 9})
    display.on_epoch_begin(0)
    display._last_output -= 1
    display.on_train_batch_end(4)
    assert "step 5/9" in stream.getvalue()


def test_none_shows_nothing():
    assert _show(Terminal(), "none", 3) == ""


def test_held_out_accuracy_is_shown_where_there_is_one():
    display = progress.Progress("plain", [3], "lines", stream := io.StringIO())
    display.set_params({"epochs": 1})
    display.on_epoch_begin(0)
    display.show({**ROW, "epoch": 1, "val_accuracy": 0.123})
    assert "held-out  12.3%" in stream.getvalue()


def test_a_training_that_was_resumed_within_an_epoch_counts_all_of_it():
    display = progress.Progress("plain", [9] * 8, "bar", stream := io.StringIO())
    # The `fit` that ends the third epoch.
    display.set_params({"epochs": 3, "steps": 4})
    display.on_epoch_begin(2)
    display._last_output -= 1
    display.on_train_batch_end(0)
    assert "epoch 3/8  step 6/9" in stream.getvalue()
    display.show({**ROW, "epoch": 3})
    assert "epoch 3/8  loss" in stream.getvalue()
