from __future__ import annotations

import io

import matplotlib.image
import matplotlib.pyplot
import numpy as np
import pytest

from l2rw_tf.report import pictures

TITLES = {"l2rw": "reweighted", "plain": "plain", "other": "another"}


@pytest.mark.parametrize("epochs", [1, 5])
def test_accuracy_curves_show_the_rows(epochs):
    random = np.random.default_rng(0)
    accuracies = {method: random.uniform(size=(epochs, 2)) for method in TITLES}
    curves = {
        method: [
            {"epoch": i + 1, "phase": "main", "test_accuracy": test, "accuracy": training}
            for i, (test, training) in enumerate(values)
        ]
        for method, values in accuracies.items()
    }
    with pictures.style():
        figure = pictures.accuracy_curves(curves, TITLES, 0.3, "digits, seed 0").figure
    (axes,) = figure.axes
    assert figure.get_suptitle() == "digits, seed 0"
    *lines, right_labels = axes.lines
    assert right_labels.get_ydata() == pytest.approx([0.7, 0.7])
    assert len(lines) == 2 * len(TITLES)
    for number, method in enumerate(TITLES):
        for line, column, part in zip(
            lines[2 * number :], (0, 1), ("test", "training"), strict=False
        ):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, epochs + 1))
            np.testing.assert_array_equal(line.get_ydata(), accuracies[method][:, column])
            assert line.get_label() == f"{TITLES[method]}, {part}"
    # Colours alone do not tell them apart for everybody.
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines)
    assert not matplotlib.pyplot.get_fignums()


def test_fine_tuning_has_no_accuracy_on_the_training_data():
    rows = [
        {"epoch": 1, "phase": "main", "test_accuracy": 0.5, "accuracy": 0.6},
        {"epoch": 2, "phase": "finetune", "test_accuracy": 0.7, "accuracy": 1.0},
    ]
    with pictures.style():
        chart = pictures.accuracy_curves({"plain": rows}, TITLES, None)
    test, training = chart.figure.axes[0].lines
    assert list(test.get_xdata()) == [1, 2] and list(training.get_xdata()) == [1]
    assert "plain, training: 60.0% after the first epoch, 60.0% at best" in chart.alt


def test_a_confusion_matrix_is_coloured_by_fraction_and_lettered_by_number():
    matrix = np.array([[30, 0, 10], [0, 4, 0], [0, 0, 0]])
    with pictures.style():
        chart = pictures.confusion_matrix(matrix, "plain", ["a", "b", "c"])
        content = io.BytesIO()
        chart.figure.savefig(content, format="png")
    axes = chart.figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0, 0.25], [0, 1, 0], [0, 0, 0]])
    texts = {text.get_position(): text.get_text() for text in axes.texts if text.get_text()}
    assert texts == {(0, 0): "30", (2, 0): "10", (1, 1): "4"}
    # Where the pixel of a cell is: dark for b, white for c's row.
    image = matplotlib.image.imread(io.BytesIO(content.getvalue()))
    height = image.shape[0]
    for (x, y), dark in (((1.3, 1.3), True), ((0.3, 2.3), False)):
        column, row = axes.transData.transform((x, y)).round().astype(int)
        assert (image[height - row, column, :3].mean() < 0.5) == dark
