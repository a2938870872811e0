"""The figure of a comparison."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2rw_tf.comparison.plan import Plan
from l2rw_tf.comparison.rows import Row

# Okabe and Ito's palette without its yellow, which is too light for lines. Colours, markers and
# line styles together distinguish the first 28 methods.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D")
_LINES = ("-", "--", "-.", ":")


def figure(plan: Plan, rows: Sequence[Row], command: str) -> Figure:
    """Draws the accuracy of each method, against the swept flag if there is one.

    Args:
        plan: The comparison.
        rows: The rows of its table.
        command: The command line of the comparison, shown below the figure.

    Returns:
        A figure that is independent of matplotlib's global state.
    """
    flag, values = plan.comparison.swept
    variants = [
        name for name in plan.comparison.methods if any(r.cell.variant == name for r in rows)
    ]
    below = "\n".join(textwrap.wrap(command, 110, break_on_hyphens=False))
    height = 4.6 if flag else 1.8 + 0.34 * len(variants)
    size = (8, height + 0.14 * len(below.splitlines()))
    drawn = Figure(figsize=size, dpi=144, layout="constrained")
    axes = drawn.add_subplot()
    if flag:
        _draw_sweep(axes, variants, values, rows)
        axes.set_xlabel(flag.replace("_", " "))
        axes.set_ylabel(f"{rows[0].accuracy_name} (mean ± standard deviation)")
        axes.yaxis.set_major_formatter("{x:g}%")
        drawn.legend(loc="outside right upper", frameon=False)
    else:
        _draw_points(axes, rows)
        axes.set_xlabel(rows[0].accuracy_name)
        axes.xaxis.set_major_formatter("{x:g}%")
        drawn.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    axes.set_title(_title(plan, rows), fontsize=11)
    axes.grid(color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.supxlabel(below, fontsize=6, family="monospace", color="0.35", x=0.01, ha="left")
    return drawn


def _draw_sweep(
    axes: Axes, variants: Sequence[str], values: Sequence[str], rows: Sequence[Row]
) -> None:
    """Draws a line for each method; values that are not numbers are evenly spaced."""
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
    """Draws a row of points for each method: seeds, their mean, and the mean at chosen epochs."""
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


def _title(plan: Plan, rows: Sequence[Row]) -> str:
    result, swept = rows[0].first, plan.comparison.swept[0]
    title = result.dataset
    if any(run.config.classes for run in plan.runs.values()):
        title += f" ({', '.join(result.class_names)})"
    if result.noise_type != "none":
        title += f", {result.noise_type} flip"
        if swept != "noise_ratio":
            title += f" of {result.noise_ratio:g} of the labels"
    if result.imbalance_type != "none" and swept != "imbalance_ratio":
        title += f", classes {result.imbalance_ratio:g}:1"
    return f"{title}, {len(plan.comparison.seeds)} seeds"
