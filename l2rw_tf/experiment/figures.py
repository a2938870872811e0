"""The figures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
