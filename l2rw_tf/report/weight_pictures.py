"""The charts of the example weights: distribution, against loss, effective batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l2rw_tf.report.pictures import (
    BLUE,
    ORANGE,
    Chart,
    epochs_below,
    new_figure,
    reference_line,
)
from l2rw_tf.runs.results import percent

# A point takes 100 bytes of SVG; this many look the same as 60,000.
_MOST_POINTS = 1000
_NUM_BINS = 12


def weight_distribution(weights: np.ndarray, wrong: np.ndarray | None) -> Chart:
    """Draws the distribution of the examples' mean weights, as figure 4 of Ren et al. 2018 does.

    Args:
        weights: Mean weight of each example, in units of the weight in plain training, (n,).
        wrong: Whether each label is wrong, bool (n,); None if unknown.
    """
    groups = [("labels", weights, {"facecolor": BLUE, "edgecolor": "white"})]
    if wrong is not None:
        hatched = {"facecolor": "none", "edgecolor": ORANGE, "hatch": "///"}
        groups = [
            ("right labels", weights[~wrong], groups[0][2]),
            ("wrong labels", weights[wrong], hatched),
        ]
    last = max(float(np.quantile(weights, 0.99)), 2.0) if len(weights) else 2.0
    edges = np.linspace(0, last, 31)
    figure, panels = new_figure(height=1.3 + 1.2 * len(groups), rows=len(groups))
    sentences = []
    for axes, (name, values, colours) in zip(panels, groups, strict=True):
        title = f"{len(values):,} {name}"
        if len(values):
            without = f"{percent(np.mean(values < 0.05))} below 0.05"
            sentences.append(
                f"{title}: mean weight {values.mean():.2f}, median {np.median(values):.2f}, "
                f"{without}."
            )
            title += f": mean {values.mean():.2f}, {without}"
            fractions = np.full(len(values), 1 / len(values))
            axes.hist(np.minimum(values, last), edges, weights=fractions, linewidth=0.7, **colours)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(0, last)
        axes.axvline(1, color="0.35", linewidth=1, linestyle="--")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_ylabel("fraction")
    panels[-1].set_xlabel("mean weight (1: as in plain training)")
    return Chart(figure, "Distribution of the example weights. " + " ".join(sentences))


def weight_against_loss(weights: np.ndarray, losses: np.ndarray, wrong: np.ndarray | None) -> Chart:
    """Draws the examples' mean weights against their mean losses, as Shu et al. 2019 do.

    Args:
        weights: Mean weight of each example, in units of the weight in plain training, (n,).
        losses: Mean loss of each example over its visits, (n,).
        wrong: Whether each label is wrong, bool (n,); None if unknown.
    """
    figure, (axes,) = new_figure(height=3.7)
    some = np.unique(np.linspace(0, len(losses) - 1, _MOST_POINTS).round().astype(int))
    groups = [("labels", np.ones(len(losses), bool), BLUE, ".")]
    if wrong is not None:
        groups = [("right labels", ~wrong, BLUE, "."), ("wrong labels", wrong, ORANGE, "x")]
    for name, group, colour, marker in groups:
        shown = some[group[some]]
        axes.plot(
            losses[shown],
            weights[shown],
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=3,
            alpha=0.5,
            label=name,
        )
    # Bins of equal numbers of examples: the mean of a few would say nothing.
    bins = np.array_split(np.argsort(losses, kind="stable"), min(_NUM_BINS, len(losses)))
    at, means = ([values[rows].mean() for rows in bins] for values in (losses, weights))
    axes.plot(at, means, color="black", label="means of twelfths by loss")
    axes.set_xlim(0, np.quantile(losses, 0.99) * 1.05)
    axes.set_ylim(0, max(np.quantile(weights, 0.99), 2) * 1.05)
    reference_line(axes, 1, "plain training")
    axes.set(xlabel="mean loss over the run", ylabel="mean weight")
    figure.legend(loc="outside lower center", ncols=2)
    return Chart(
        figure,
        f"Mean weight against mean loss. The mean weight is {means[0]:.2f} in the twelfth with the "
        f"smallest losses (mean {at[0]:.2f}), {means[len(at) // 2]:.2f} in the middle "
        f"({at[len(at) // 2]:.2f}) and {means[-1]:.2f} in that with the largest ({at[-1]:.2f}).",
    )


def effective_batch_size(rows: Sequence[Mapping[str, Any]], batch_size: int) -> Chart:
    """Draws the effective batch size per epoch.

    Args:
        rows: The rows of metrics.csv that have an effective batch size.
        batch_size: The number of training examples per batch.
    """
    epochs = [row["epoch"] for row in rows]
    sizes = [row["effective_batch_size"] for row in rows]
    figure, (axes,) = new_figure(height=3.4)
    marker = "o" if len(rows) == 1 else None
    axes.plot(epochs, sizes, color=BLUE, marker=marker, label="effective batch size")
    reference_line(axes, batch_size, f"batch size: {batch_size}")
    axes.set_ylim(0, 1.1 * batch_size)
    epochs_below(axes)
    axes.set_ylabel("examples")
    figure.legend(loc="outside lower center", ncols=2)
    lowest = int(np.argmin(sizes))
    return Chart(
        figure,
        f"Effective batch size over the epochs, for batches of {batch_size}: {sizes[0]:.1f} in the "
        f"first epoch, at least {sizes[lowest]:.1f} (epoch {epochs[lowest]}), {sizes[-1]:.1f} at "
        "the end.",
    )
