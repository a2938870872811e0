"""The figure shows the figures of the table."""

from __future__ import annotations

import numpy as np
import pytest

from l2rw_tf.command_line import settings
from l2rw_tf.comparison import figure
from l2rw_tf.comparison.plan import Cell, ComparisonConfig, plan
from l2rw_tf.comparison.table import Row
from l2rw_tf.runs.config import RunConfig
from tests import made_up


def _row(variant, value, accuracies, chosen=None):
    epoch = None if chosen is None else made_up.chosen_epoch(chosen)
    results = {
        seed: made_up.run_results(test_accuracy=accuracy, chosen_by_validation=epoch)
        for seed, accuracy in enumerate(accuracies)
    }
    return Row(Cell(variant, value), 0.1, results)


def _axes(rows, *flags):
    planned = plan(*settings.from_arguments(flags, ComparisonConfig, RunConfig))
    drawn = figure.figure(planned, rows, "the command $x_1")
    assert drawn.get_supxlabel() == "the command $x_1"
    (axes,) = drawn.axes
    return axes


@pytest.mark.parametrize(("values", "places"), [("0,0.4", [0, 0.4]), ("none,crop", [0, 1])])
def test_a_sweep_is_a_line_for_each_method(values, places, tmp_path):
    flag = "noise_ratio" if places[1] == 0.4 else "augment"
    first, second = values.split(",")
    rows = [
        _row("plain", first, [0.5, 0.7]),
        _row("l2rw", first, [0.9]),
        _row("plain", second, [0.4, 0.4]),
    ]
    axes = _axes(rows, f"--sweep={flag}={values}", "--noise_type=uniform", "--noise_ratio=0.2")
    plain, reweighted = (container.lines[0] for container in axes.containers)
    np.testing.assert_allclose(plain.get_xydata(), [[places[0], 60], [places[1], 40]])
    np.testing.assert_allclose(reweighted.get_xydata(), [[places[0], 90]])
    assert [text.get_text() for text in axes.get_xticklabels()] == [first, second]
    assert ("of the labels" in axes.get_title()) == (flag != "noise_ratio")


def test_methods_are_lines_of_points():
    rows = [_row("plain", "", [0.5, 0.7], chosen=0.8), _row("l2rw", "", [0.9])]
    axes = _axes(rows)
    seeds, chosen, others = (
        points.get_offsets()
        for points in axes.collections
        if len(points.get_offsets()) and hasattr(points, "get_sizes")
    )
    np.testing.assert_allclose(seeds, [[50, 0], [70, 0]])
    np.testing.assert_allclose(chosen, [[80, 0]])
    np.testing.assert_allclose(others, [[90, 1]])
    means = [container.lines[0].get_xydata()[0] for container in axes.containers]
    np.testing.assert_allclose(means, [[60, 0], [90, 1]])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["plain", "l2rw"]
