from __future__ import annotations

import matplotlib.pyplot
import numpy as np
import pytest

from l2rw_tf.report import figures

TITLES = {"l2rw": "reweighted", "plain": "plain", "other": "another"}


@pytest.mark.parametrize("epochs", [1, 5])
def test_accuracy_curves_show_the_rows(tmp_path, epochs):
    random = np.random.default_rng(0)
    accuracies = {method: random.uniform(size=epochs) for method in TITLES}
    curves = {
        method: [{"epoch": i + 1, "test_accuracy": value} for i, value in enumerate(values)]
        for method, values in accuracies.items()
    }
    figure = figures.accuracy_curves(curves, TITLES, "digits, seed 0")
    (axes,) = figure.axes
    assert axes.get_title() == "digits, seed 0"
    for line, (method, values) in zip(axes.lines, accuracies.items(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, epochs + 1))
        np.testing.assert_allclose(line.get_ydata(), 100 * values)
        assert line.get_label() == f"{TITLES[method]}: {100 * values[-1]:.1f} % at the end"
    # Colours alone do not tell them apart for everybody.
    assert len({line.get_linestyle() for line in axes.lines}) == len(TITLES)
    assert not matplotlib.pyplot.get_fignums()
    figure.savefig(tmp_path / "figure.png")
    image = matplotlib.image.imread(tmp_path / "figure.png")
    assert image.shape[0] > 400 and image.min() < image.max()
