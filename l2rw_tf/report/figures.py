"""The figures of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from l2rw_tf.comparison.plan import Plan
    from l2rw_tf.comparison.table import Row

# Of the palette by Okabe and Ito, told apart without colour vision by the line styles as well.
_STYLES = {
    "l2rw": {"color": "#0072B2", "linestyle": "-"},
    "plain": {"color": "#D55E00", "linestyle": "--"},
}
_OTHER_STYLE = {"color": "#009E73", "linestyle": "-."}


def accuracy_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str], title: str
) -> Figure:
    """Draws test accuracy over the epochs.

    Args:
        curves: For each method its rows of metrics.csv.
        titles: What each method is called.
        title: The figure's title: data, noise, seed.

    Returns:
        The figure; nothing of matplotlib's global state is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(7, 4.2), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for method, rows in curves.items():
        epochs = [row["epoch"] for row in rows]
        accuracies = [100 * row["test_accuracy"] for row in rows]
        axes.plot(
            epochs,
            accuracies,
            label=f"{titles[method]}: {accuracies[-1]:.1f} % at the end",
            linewidth=2,
            marker="o" if len(rows) == 1 else None,
            **_STYLES.get(method, _OTHER_STYLE),
        )
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.set_ylim(0, 101)
    axes.grid(color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=True, framealpha=0.95, edgecolor="none")
    return figure


# Okabe and Ito's palette without its yellow, which is too light for lines; with the markers and the
# line styles no two of the first 28 look alike.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D")
_LINES = ("-", "--", "-.", ":")


def comparison(plan: Plan, rows: Sequence[Row], command: str) -> Figure:
    """Draws the test accuracy of methods: against the swept flag, or a line of points for each.

    Args:
        plan: The comparison.
        rows: The rows of its table.
        command: The command line that makes it, written below.

    Returns:
        The figure; nothing of matplotlib's global state is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    flag, values = plan.comparison.swept
    variants = [
        name for name in plan.comparison.methods if any(r.cell.variant == name for r in rows)
    ]
    below = "\n".join(textwrap.wrap(command, 110, break_on_hyphens=False))
    height = 4.6 if flag else 1.8 + 0.34 * len(variants)
    figure = Figure(figsize=(8, height + 0.14 * len(below.splitlines())), dpi=144)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if flag:
        _draw_sweep(axes, variants, values, rows)
        axes.set_xlabel(flag.replace("_", " "))
        axes.set_ylabel("test accuracy (mean ± standard deviation)")
        axes.yaxis.set_major_formatter("{x:g} %")
        figure.legend(loc="outside right upper", frameon=False)
    else:
        _draw_points(axes, rows)
        axes.set_xlabel("test accuracy")
        axes.xaxis.set_major_formatter("{x:g} %")
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    axes.set_title(_comparison_title(plan, rows), fontsize=11)
    axes.grid(color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(below, fontsize=6, family="monospace", color="0.35", x=0.01, ha="left")
    return figure


def _draw_sweep(
    axes: Axes, variants: Sequence[str], values: Sequence[str], rows: Sequence[Row]
) -> None:
    """Draws a line for each method; values that are no numbers stand at even distances."""
    try:
        places = dict(zip(values, map(float, values), strict=True))
    except ValueError:
        places = dict(zip(values, range(len(values)), strict=True))
    for number, variant in enumerate(variants):
        of_variant = [row for row in rows if row.cell.variant == variant]
        axes.errorbar(
            [places[row.cell.value] for row in of_variant],
            [100 * row.accuracy.mean for row in of_variant],
            [100 * (row.accuracy.deviation or 0) for row in of_variant],
            label=variant,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle=_LINES[number // len(_COLOURS) % len(_LINES)],
            linewidth=1.8,
            elinewidth=1,
            markersize=5,
            capsize=3,
        )
    axes.set_xticks(list(places.values()), list(places))


def _draw_points(axes: Axes, rows: Sequence[Row]) -> None:
    """Draws a line of points for each method: its seeds, their mean, and that of chosen epochs."""
    for place, row in enumerate(rows):
        first = place == 0
        axes.scatter(
            [100 * accuracy for accuracy in row.accuracies],
            [place] * len(row.accuracies),
            s=14,
            color="0.55",
            label="a seed" if first else None,
        )
        axes.errorbar(
            100 * row.accuracy.mean,
            place,
            xerr=100 * (row.accuracy.deviation or 0),
            marker="o",
            color=_COLOURS[0],
            capsize=3,
            label="trained network: mean ± standard deviation" if first else None,
        )
        if row.chosen:
            axes.scatter(
                100 * row.chosen.mean,
                place,
                marker="D",
                facecolors="none",
                edgecolors=_COLOURS[1],
                label="at the epoch chosen by held-out labels" if first else None,
                zorder=3,
            )
    axes.set_yticks(range(len(rows)), [row.cell.variant for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _comparison_title(plan: Plan, rows: Sequence[Row]) -> str:
    result = rows[0].results[0]
    title = result["dataset"]
    if any(run.config.classes for run in plan.runs.values()):
        title += f" ({', '.join(result['class_names'])})"
    if result["noise_type"] != "none":
        title += f", {result['noise_type']} flip"
        if plan.comparison.swept[0] != "noise_ratio":
            title += f" of {result['noise_ratio']:g} of the labels"
    if result["imbalance_type"] != "none" and plan.comparison.swept[0] != "imbalance_ratio":
        title += f", classes {result['imbalance_ratio']:g}:1"
    return f"{title}, {len(plan.comparison.seeds)} seeds"
