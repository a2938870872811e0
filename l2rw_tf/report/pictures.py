"""The pictures of a run's report, each with the words that say what it shows.

They are SVG, so that they stay sharp at any size, and nothing in them is told by colour alone.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from l2rw_tf.quality import Detection

# Of the palette by Okabe and Ito.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_METHOD_STYLES = {"l2rw": (_BLUE, "o"), "plain": (_ORANGE, "s")}
_OTHER_STYLE = (_GREEN, "^")

_WIDTH = 4.7  # Inches: half of the page on a wide screen, all of it on a narrow one.
_MOST_CLASSES_WITH_NUMBERS = 12
_MOST_CLASSES_WITH_NAMES = 30
_MOST_BARS = 20
_LONGEST_NAME = 18
_MOST_PIXELS = 96


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that needs no file beside the page.

    Attributes:
        source: The picture itself, as a data URI.
        alt: What it shows, in figures, for those who do not see it.
    """

    source: str
    alt: str


def accuracy_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    titles: Mapping[str, str],
    wrong_label_share: float | None,
) -> Picture:
    """Draws test and training accuracy over the epochs, as figure 7 of Ren et al. 2018 does.

    Args:
        curves: For each method its rows of metrics.csv.
        titles: What each method is called.
        wrong_label_share: The share of training labels that are wrong, where it is known.
    """
    figure, axes = _figure(height=3.4)
    sentences = []
    for method, rows in curves.items():
        colour, marker = _METHOD_STYLES.get(method, _OTHER_STYLE)
        for part, line in (("test", "-"), ("training", ":")):
            name = "accuracy" if part == "training" else "test_accuracy"
            # Fine-tuning is trained on the clean data: its accuracy there belongs to no curve.
            points = [
                (row["epoch"], 100 * row[name])
                for row in rows
                if part == "test" or row["phase"] != "finetune"
            ]
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linestyle=line,
                linewidth=2,
                marker=marker,
                markersize=5,
                markevery=max(1, len(points) // 8),
                label=f"{titles[method]}, {part}",
            )
            sentences.append(
                f"{titles[method]}, {part}: {points[0][1]:.1f} % after the first epoch, "
                f"{max(value for _, value in points):.1f} % at best, {points[-1][1]:.1f} % at the "
                "end."
            )
    if wrong_label_share:
        right = 100 * (1 - wrong_label_share)
        _reference_line(axes, right, f"right labels: {right:.1f} %")
        sentences.append(f"Of the training labels {right:.1f} % are right.")
    _epochs_below(axes)
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 102)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return _picture(figure, "Accuracy over the epochs. " + " ".join(sentences))


def weight_distribution(weights: np.ndarray, wrong: np.ndarray | None) -> Picture:
    """Draws how the examples' mean weights are distributed, as figure 4 of Ren et al. 2018 does.

    Args:
        weights: Mean weight of each example, in units of the weight that all have in plain
            training, (n,).
        wrong: Whether its label is wrong, bool (n,), or None where nobody knows.
    """
    groups = [("labels", weights, _BLUE, "")]
    if wrong is not None:
        groups = [
            ("right labels", weights[~wrong], _BLUE, ""),
            ("wrong labels", weights[wrong], _ORANGE, "///"),
        ]
    last = max(float(np.quantile(weights, 0.99)), 2.0) if len(weights) else 2.0
    edges = np.linspace(0, last, 31)
    figure, panels = _figure(height=1.3 + 1.2 * len(groups), rows=len(groups))
    sentences = []
    for axes, (name, values, colour, hatch) in zip(panels, groups, strict=True):
        title = f"{len(values):,} {name}"
        if len(values):
            without = np.mean(values < 0.05)
            title += f": mean {values.mean():.2f}, {100 * without:.0f} % below 0.05"
            sentences.append(
                f"{len(values):,} {name}: mean weight {values.mean():.2f}, median "
                f"{np.median(values):.2f}, {100 * without:.0f} % below 0.05."
            )
            axes.hist(
                np.minimum(values, last),
                edges,
                weights=np.full(len(values), 100 / len(values)),
                facecolor=colour if not hatch else "none",
                edgecolor=colour if hatch else "white",
                hatch=hatch,
                linewidth=0.7,
            )
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(0, last)
        axes.axvline(1, color="0.35", linewidth=1, linestyle="--")
        axes.set_ylabel("share in %")
    panels[-1].set_xlabel("mean weight (1: as in plain training)")
    return _picture(figure, "Distribution of the example weights. " + " ".join(sentences))


def effective_batch_size(rows: Sequence[Mapping[str, Any]], batch_size: int) -> Picture:
    """Draws how many examples of a batch carry the weight, over the epochs.

    Args:
        rows: The rows of metrics.csv that have it.
        batch_size: Examples in a batch.
    """
    epochs = [row["epoch"] for row in rows]
    sizes = [row["effective_batch_size"] for row in rows]
    figure, axes = _figure(height=3.4)
    axes.plot(
        epochs,
        sizes,
        color=_BLUE,
        linewidth=2,
        marker="o" if len(rows) == 1 else None,
        label="effective batch size",
    )
    _reference_line(axes, batch_size, f"batch size: {batch_size}")
    axes.set_ylim(0, 1.1 * batch_size)
    _epochs_below(axes)
    axes.set_ylabel("examples")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    lowest = int(np.argmin(sizes))
    return _picture(
        figure,
        f"Effective batch size over the epochs, of batches of {batch_size}: {sizes[0]:.1f} in the "
        f"first epoch, {sizes[lowest]:.1f} at the lowest (epoch {epochs[lowest]}), {sizes[-1]:.1f} "
        "at the end.",
    )


def suspects_by_class(
    class_names: Sequence[str], given: np.ndarray, suspected: np.ndarray, wrong: np.ndarray | None
) -> Picture:
    """Draws for each class how many of its labels are suspected.

    Args:
        class_names: A name for each class.
        given: How many examples have each label, (classes,).
        suspected: How many of these are suspected, (classes,).
        wrong: How many are wrong, (classes,), or None where nobody knows.
    """
    shown = np.sort(np.argsort(-suspected, kind="stable")[:_MOST_BARS])
    places = np.arange(len(shown))
    figure, axes = _figure(height=1.3 + 0.24 * len(shown))
    axes.barh(places, given[shown], color="0.9", edgecolor="0.55", label="labels given")
    axes.barh(
        places,
        suspected[shown],
        color="none",
        edgecolor=_BLUE,
        hatch="////",
        linewidth=1.2,
        label="suspected",
    )
    if wrong is not None:
        axes.plot(
            wrong[shown],
            places,
            "D",
            color=_ORANGE,
            markeredgecolor="white",
            label="really wrong",
            clip_on=False,
        )
    axes.set_yticks(places, _short(class_names, shown), parse_math=False)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("training examples")
    axes.set_ylabel("given label")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    sentences = [
        f"{class_names[label]}: {suspected[label]:,} of {given[label]:,} suspected"
        + (f", {wrong[label]:,} really wrong" if wrong is not None else "")
        for label in shown
    ]
    return _picture(figure, "Suspected labels by given label. " + "; ".join(sentences) + ".")


def precision_recall(
    quality: np.ndarray, wrong: np.ndarray, suspected: np.ndarray, found: Detection
) -> Picture:
    """Draws precision over recall of the ranking by label quality.

    Args:
        quality: Label quality score of each example, near 0 for suspects, (n,).
        wrong: Whether its label is wrong, bool (n,); both occur.
        suspected: Which ones are suspected, bool (n,).
        found: How good the ranking is in all.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(wrong, -quality)
    # A curve of 60,000 points is megabytes of SVG; 400 look the same.
    some = np.unique(np.linspace(0, len(recall) - 1, 400).round().astype(int))
    figure, axes = _figure(height=3.4)
    axes.plot(
        100 * recall[some],
        100 * precision[some],
        color=_BLUE,
        linewidth=2,
        label=f"average precision {found.average_precision:.3f}, AUROC {found.auroc:.3f}",
    )
    share = 100 * np.mean(wrong)
    _reference_line(axes, share, f"by chance: {share:.1f} %")
    words = ""
    if suspected.any():
        both = np.sum(suspected & wrong)
        at = (100 * both / wrong.sum(), 100 * both / suspected.sum())
        style = {"color": _ORANGE, "markersize": 8, "markeredgecolor": "white", "clip_on": False}
        axes.plot(*at, "D", **style, label="where the suspects end")
        words = f" The suspected labels: recall {at[0]:.1f} %, precision {at[1]:.1f} %."
    axes.set(xlim=(0, 102), ylim=(0, 102), xlabel="recall in %", ylabel="precision in %")
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return _picture(
        figure,
        f"Precision and recall of the ranking: average precision {found.average_precision:.3f}, "
        f"area under the ROC curve {found.auroc:.3f}; by chance precision would be "
        f"{share:.1f} %.{words}",
    )


def confusion_matrix(matrix: np.ndarray, title: str, class_names: Sequence[str]) -> Picture:
    """Draws a confusion matrix, as figure 6 of Ren et al. 2018 does.

    Args:
        matrix: Examples by true class (rows) and predicted class, (classes, classes).
        title: Whose predictions they are.
        class_names: A name for each class.
    """
    classes = len(class_names)
    totals = matrix.sum(axis=1)
    shares = 100 * matrix / np.maximum(totals, 1)[:, None]
    figure, axes = _figure(height=4.0)
    mesh = axes.pcolormesh(
        shares, cmap="Blues", vmin=0, vmax=100, rasterized=classes > _MOST_CLASSES_WITH_NAMES
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    if classes <= _MOST_CLASSES_WITH_NUMBERS:
        for true, predicted in np.argwhere(matrix):
            axes.text(
                predicted + 0.5,
                true + 0.5,
                f"{matrix[true, predicted]}",
                horizontalalignment="center",
                verticalalignment="center",
                fontsize=9 if matrix.max() < 1000 else 7,
                color="white" if shares[true, predicted] > 55 else "black",
            )
    if classes <= _MOST_CLASSES_WITH_NAMES:
        names = _short(class_names, range(classes))
        turned = 90 if max(map(len, names)) > 2 else 0
        places = np.arange(classes) + 0.5
        axes.set_xticks(places, names, rotation=turned, parse_math=False)
        axes.set_yticks(places, names, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(mesh, ax=axes, shrink=0.8, label="% of the true class").outline.set_visible(0)
    mistakes = matrix * (1 - np.eye(classes, dtype=matrix.dtype))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    most = [
        f"{class_names[true]} taken for {class_names[predicted]} "
        f"({mistakes[true, predicted]:,} of {totals[true]:,})"
        for true, predicted in zip(*np.unravel_index(order, mistakes.shape), strict=True)
        if mistakes[true, predicted]
    ]
    return _picture(
        figure,
        f"Confusion matrix, {title}: {np.trace(matrix):,} of {matrix.sum():,} test examples right. "
        + (f"Most frequent mistakes: {'; '.join(most)}." if most else "No mistakes."),
    )


def example_image(image: np.ndarray, alt: str) -> Picture:
    """Makes a small picture of a training image.

    Args:
        image: uint8 (height, width, 1 or 3).
        alt: What it is.
    """
    from PIL import Image

    pixels = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    small = max(pixels.size) <= _MOST_PIXELS
    pixels.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    content = io.BytesIO()
    # Photographs as PNG would make the page several times as large.
    pixels.save(content, "png" if small else "jpeg")
    return Picture(_data_uri("image/png" if small else "image/jpeg", content.getvalue()), alt)


def _figure(height: float, rows: int | None = None) -> tuple[Figure, Any]:
    """Returns a figure and its axes, or where rows are given an array of axes with one x axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots(rows or 1, sharex=True, squeeze=False)[:, 0]
    for one in axes:
        _style(one)
    return figure, axes if rows else axes[0]


def _style(axes: Axes) -> None:
    axes.grid(color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _reference_line(axes: Axes, y: float, label: str) -> None:
    axes.axhline(y, color="0.35", linewidth=1, linestyle="--", label=label)


def _epochs_below(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _picture(figure: Figure, alt: str) -> Picture:
    import matplotlib

    content = io.BytesIO()
    # Text stays text: the browser has the letters of any language. matplotlib, which measures them
    # with its own font, may lack some.
    style = {"svg.fonttype": "none", "svg.hashsalt": "l2rw"}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return Picture(_data_uri("image/svg+xml", content.getvalue()), alt)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _short(names: Sequence[str], labels: Sequence[int] | np.ndarray) -> list[str]:
    short = []
    for label in labels:
        name = names[label]
        short.append(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")
    return short
