"""The charts of a run's report, each with a text alternative.

They are SVG, so that they stay sharp at any size. Colour is never the only distinction in them.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay, precision_recall_curve

from l2rw_tf.quality import Detection
from l2rw_tf.runs.results import percent

# From the palette of Okabe and Ito.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
_METHOD_STYLES = {"l2rw": (BLUE, "o"), "plain": (ORANGE, "s")}
_OTHER_STYLE = (GREEN, "^")

_WIDTH = 4.7  # Inches: half of the page on a wide screen, all of it on a narrow one.
_MOST_CLASSES_WITH_NUMBERS = 12
_MOST_CLASSES_WITH_NAMES = 30
_MOST_BARS = 20
_LONGEST_NAME = 18

_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 144,
    "grid.color": "0.88",
    "legend.frameon": False,
    "lines.linewidth": 2,
    # Text stays text, since the browser has fonts for all scripts.
    "svg.fonttype": "none",
    "svg.hashsalt": "l2rw",
    # The name of a class may contain dollar signs.
    "text.parse_math": False,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """A scope in which charts are drawn and rendered."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # matplotlib measures text with its own font, which may lack glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart; create it and read `source` within the scope `style`.

    Attributes:
        figure: The figure.
        alt: The text alternative, with the values that the chart shows.
    """

    figure: Figure
    alt: str

    @property
    def source(self) -> str:
        """The chart as a data URI, so that the page needs no other file."""
        content = io.BytesIO()
        self.figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
        return _data_uri("image/svg+xml", content.getvalue())


def accuracy_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    titles: Mapping[str, str],
    wrong_label_share: float | None,
    heading: str = "",
    held_out: str = "test",
) -> Chart:
    """Draws test and training accuracy per epoch, as figure 7 of Ren et al. 2018 does.

    Args:
        curves: The rows of metrics.csv by method.
        titles: Titles of the methods, by name.
        wrong_label_share: The fraction of training labels that are wrong, if known.
        heading: Text above the chart.
        held_out: Name of the held-out data; "trusted" shows the accuracy on trusted examples.
    """
    column = "trusted_accuracy" if held_out == "trusted" else "test_accuracy"
    figure, (axes,) = new_figure(height=3.4 + 0.4 * bool(heading))
    figure.suptitle(textwrap.fill(heading, 60), fontsize=10)
    sentences = []
    for method, rows in curves.items():
        colour, marker = _METHOD_STYLES.get(method, _OTHER_STYLE)
        for part, line in ((held_out, "-"), ("training", ":")):
            name = "accuracy" if part == "training" else column
            # Training accuracy of fine-tuning is on the clean data: it is not part of the curve.
            shown = [
                row
                for row in rows
                if name in row and (part == held_out or row["phase"] != "finetune")
            ]
            values = [row[name] for row in shown]
            number = shown[0]["epoch"]
            first = "the first epoch" if number == 1 else f"epoch {number}"
            axes.plot(
                [row["epoch"] for row in shown],
                values,
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=5,
                markevery=max(1, len(values) // 8),
                label=f"{titles[method]}, {part}",
            )
            sentences.append(
                f"{titles[method]}, {part}: {percent(values[0])} after {first}, "
                f"{percent(max(values))} at best, {percent(values[-1])} at the end."
            )
    if wrong_label_share:
        right = 1 - wrong_label_share
        reference_line(axes, right, f"right labels: {percent(right)}")
        sentences.append(f"{percent(right)} of the training labels are right.")
    epochs_below(axes)
    low, high = axes.get_ylim()
    axes.set(ylim=(max(low, 0), min(high, 1.02)), ylabel="accuracy")
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:.0%}")
    figure.legend(loc="outside lower center", ncols=2)
    return Chart(figure, "Accuracy over the epochs. " + " ".join(sentences))


def suspects_by_class(
    class_names: Sequence[str], given: np.ndarray, suspected: np.ndarray, wrong: np.ndarray | None
) -> Chart:
    """Draws the number of suspected labels of each class.

    Args:
        class_names: A name for each class.
        given: Number of examples of each given label, (classes,).
        suspected: Number of these that are suspected, (classes,).
        wrong: Number of these that are wrong, (classes,); None if unknown.
    """
    shown = np.sort(np.argsort(-suspected, kind="stable")[:_MOST_BARS])
    places = np.arange(len(shown))
    figure, (axes,) = new_figure(height=1.3 + 0.24 * len(shown))
    axes.barh(places, given[shown], color="0.9", edgecolor="0.55", label="labels given")
    hatched = {"color": "none", "edgecolor": BLUE, "hatch": "////", "linewidth": 1.2}
    axes.barh(places, suspected[shown], label="suspected", **hatched)
    if wrong is not None:
        axes.plot(wrong[shown], places, label="really wrong", **_DIAMONDS)
    axes.set_yticks(places, _short(class_names, shown))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("training examples")
    axes.set_ylabel("given label")
    figure.legend(loc="outside lower center", ncols=3)
    sentences = [
        f"{class_names[label]}: {suspected[label]:,} of {given[label]:,} suspected"
        + (f", {wrong[label]:,} really wrong" if wrong is not None else "")
        for label in shown
    ]
    return Chart(figure, "Suspected labels by given label. " + "; ".join(sentences) + ".")


def precision_recall(
    quality: np.ndarray, wrong: np.ndarray, suspected: np.ndarray, found: Detection
) -> Chart:
    """Draws precision over recall of the ranking by label quality.

    Args:
        quality: Label quality score of each example, near 0 for suspects, (n,).
        wrong: Whether each label is wrong, bool (n,); must contain both values.
        suspected: Whether each label is suspected, bool (n,).
        found: Summary measures of the ranking.
    """
    precision, recall, _ = precision_recall_curve(wrong, -quality)
    # A curve of 60,000 points takes megabytes of SVG; 400 points look the same.
    some = np.unique(np.linspace(0, len(recall) - 1, 400).round().astype(int))
    figure, (axes,) = new_figure(height=3.4)
    summary = f"average precision {found.average_precision:.3f}, AUROC {found.auroc:.3f}"
    axes.plot(recall[some], precision[some], color=BLUE, label=summary)
    by_chance = np.mean(wrong)
    reference_line(axes, by_chance, f"by chance: {percent(by_chance)}")
    words = ""
    if suspected.any():
        both = np.sum(suspected & wrong)
        at = (both / wrong.sum(), both / suspected.sum())
        axes.plot(*at, label="suspected labels", **_DIAMONDS)
        words = f" Suspected labels: recall {percent(at[0])}, precision {percent(at[1])}."
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    figure.legend(loc="outside lower center", ncols=1)
    return Chart(
        figure,
        f"Precision and recall of the ranking: average precision {found.average_precision:.3f}, "
        f"area under the ROC curve {found.auroc:.3f}; precision by chance "
        f"{percent(by_chance)}.{words}",
    )


def confusion_matrix(
    matrix: np.ndarray, title: str, class_names: Sequence[str], outcome: str = "test examples right"
) -> Chart:
    """Draws a confusion matrix, as figure 6 of Ren et al. 2018 does.

    Args:
        matrix: Number of examples by true class (rows) and predicted class, (classes, classes).
        title: Title of the method that made the predictions.
        class_names: A name for each class.
        outcome: Name of the examples on the diagonal.
    """
    classes = len(class_names)
    totals = matrix.sum(axis=1)
    fractions = matrix / np.maximum(totals, 1)[:, None]
    figure, (axes,) = new_figure(height=4.0)
    names = _short(class_names, range(classes)) if classes <= _MOST_CLASSES_WITH_NAMES else None
    shown = ConfusionMatrixDisplay(fractions, display_labels=names).plot(
        ax=axes,
        cmap="Blues",
        include_values=classes <= _MOST_CLASSES_WITH_NUMBERS,
        colorbar=False,
        xticks_rotation=90 if names and max(map(len, names)) > 2 else 0,
        im_kw={"vmin": 0, "vmax": 1, "interpolation": "none"},
        text_kw={"fontsize": 9 if matrix.max() < 1000 else 7},
    )
    if shown.text_ is not None:
        for text, number in zip(shown.text_.flat, matrix.flat, strict=True):
            text.set_text(f"{number}" if number else "")
    if names is None:
        axes.set(xticks=[], yticks=[])
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.tick_params(length=0)
    bar = figure.colorbar(shown.im_, ax=axes, shrink=0.8, format="{x:.0%}")
    bar.set_label("of the true class")
    mistakes = matrix * (1 - np.eye(classes, dtype=matrix.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    most = [
        f"{class_names[true]} taken for {class_names[predicted]} "
        f"({mistakes[true, predicted]:,} of {totals[true]:,})"
        for true, predicted in zip(*np.unravel_index(order, mistakes.shape), strict=True)
        if mistakes[true, predicted]
    ]
    return Chart(
        figure,
        f"Confusion matrix, {title}: {np.trace(matrix):,} of {matrix.sum():,} {outcome}. "
        + (f"Most frequent mistakes: {'; '.join(most)}." if most else "No mistakes."),
    )


_DIAMONDS = {
    "color": ORANGE,
    "linestyle": "none",
    "marker": "D",
    "markeredgecolor": "white",
    "clip_on": False,
}


def new_figure(height: float, rows: int = 1) -> tuple[Figure, np.ndarray]:
    """Returns a figure and its axes, (rows,), one below the other with a shared x axis."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, sharex=True, squeeze=False)[:, 0]


def reference_line(axes: Axes, y: float, label: str) -> None:
    """Draws a dashed horizontal line, labelled in the legend."""
    axes.axhline(y, color="0.35", linewidth=1, linestyle="--", label=label)


def epochs_below(axes: Axes) -> None:
    """Labels the x axis as epochs, with ticks at whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _short(names: Sequence[str], labels: Sequence[int] | np.ndarray) -> list[str]:
    return [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        for name in (names[label] for label in labels)
    ]
