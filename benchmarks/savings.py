"""What cheaper forms of the reweighted step cost, and the accuracy they reach.

    python -m l2rw_tf.compare --flagfile=configs/savings_NAME.cfg
    python -m benchmarks.savings NETWORK=RESULTS.csv ...

measures the step of every method in each results.csv, in turn, writes docs/results/savings.csv,
prints its table and draws docs/savings.png. NETWORK is a name as of --network, or NAME@SIZE for
colour images of SIZE x SIZE. Without arguments, the table is printed and drawn again.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import logging
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_TABLE, _PICTURE = Path("docs/results/savings.csv"), Path("docs/savings.png")
_SAMPLES, _WARM_UP, _CLEAN = 15, 2, 100
_TITLES = {
    "cifar10_n": "CIFAR-10N worst, a network that memorizes",
    "fashion_mnist": "Fashion-MNIST, 40% to one class",
}
# Below and above their points where the next point is close.
_BELOW = ("every 8th step", "head")

Row = dict[str, str]


def variant(method: str) -> str:
    """Returns the variant of the step (`keras_steps.Variant`) of a method of `compare`.

    Raises:
        ValueError: If no variant has the method's flags.
    """
    kind, *flags = method.split(":")
    options = dict(flag.split("=") for flag in flags)
    options.pop("learning_rate", None)
    if kind == "plain" and not options:
        return "plain"
    known = options.keys() <= {"meta_variables", "reweight_every", "clean_batch_size"}
    if kind != "l2rw" or not known or len(options) > 1:
        raise ValueError(f"{method}: the savings have plain, and l2rw with one saving.")
    kind = options.get("meta_variables", "exact")
    if "reweight_every" in options:
        kind = f"every{options['reweight_every']}"
    return f"{kind}:{options.get('clean_batch_size', _CLEAN)}"


def name(variant: str) -> str:
    """Returns the name of a variant in the table and in the figure."""
    kind, _, clean = variant.partition(":")
    if kind.startswith("every"):
        number = kind.removeprefix("every")
        return f"every {number}{'nd' if number == '2' else 'th'} step"
    if clean not in ("", str(_CLEAN)):
        return f"clean batches of {clean}"
    return "all variables" if kind == "exact" else kind.replace("_", " ")


def _measured(network: str, results: Path) -> Iterator[Row]:
    from benchmarks.keras_steps import Variant, keras_step
    from benchmarks.timing import interleave

    with results.open(encoding="utf-8", newline="") as file:
        methods = list(csv.DictReader(file))
    variants = [variant(row["method"]) for row in methods]
    takes = {one: keras_step(network, 100, Variant.parse(one)) for one in variants}
    # Eight steps a sample: weights in every 8th step are in one of them.
    timings = interleave(takes, samples=_SAMPLES, warm_up=_WARM_UP, steps_a_sample=8)
    plain = timings["plain"].median
    for row, one in zip(methods, variants, strict=True):
        timing = timings[one]
        yield {
            "dataset": row["dataset"],
            "network": network,
            "step": name(one),
            "plain_steps": f"{timing.median / plain:.3f}",
            "plain_steps_low": f"{timing.low / plain:.3f}",
            "plain_steps_high": f"{timing.high / plain:.3f}",
            **{
                column: row[column]
                for column in (
                    "test_accuracy_mean",
                    "test_accuracy_std",
                    "clean_chosen_test_accuracy_mean",
                    "clean_chosen_test_accuracy_std",
                    "difference_from_first_method",
                    "difference_standard_error",
                    "seeds",
                    "learning_rate",
                    "steps",
                    "command",
                )
            },
        }


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yields a Markdown table for each data set; clean examples choose the chosen epoch."""
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        yield f"\n| {_title(dataset)} | plain steps | last epoch | chosen | above plain |"
        yield "|---|--:|--:|--:|--:|"
        for row in rows:
            if row["dataset"] == dataset:
                yield (
                    f"| {row['step']} | {float(row['plain_steps']):.2f} | "
                    f"{_percent(row, 'test_accuracy_mean')} ± {_percent(row, 'test_accuracy_std')} "
                    f"| {_percent(row, 'clean_chosen_test_accuracy_mean')} | {_above(row)} |"
                )


def _title(dataset: str) -> str:
    return _TITLES.get(dataset, dataset)


def _percent(row: Row, column: str) -> str:
    return f"{100 * float(row[column]):.1f}"


def _above(row: Row) -> str:
    if not row["difference_from_first_method"]:
        return ""
    apart, error = "difference_from_first_method", "difference_standard_error"
    return f"{100 * float(row[apart]):+.1f} ± {_percent(row, error)}"


def picture(rows: Sequence[Row]) -> Figure:
    """Draws accuracy against the cost of a step, one panel for each data set."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    drawn = Figure(figsize=(5.2 * len(datasets), 4.2), dpi=144, layout="constrained")
    for axes, dataset in zip(
        drawn.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True
    ):
        _panel(axes, [row for row in rows if row["dataset"] == dataset])
        axes.set_title(_title(dataset), fontsize=10)
    return drawn


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    for row in rows:
        cost, accuracy = float(row["plain_steps"]), 100 * float(row["test_accuracy_mean"])
        axes.errorbar(
            cost,
            accuracy,
            100 * float(row["test_accuracy_std"]),
            [
                [cost - float(row["plain_steps_low"])],
                [float(row["plain_steps_high"]) - cost],
            ],
            marker="o",
            color="#D55E00" if row["step"] == "plain" else "#0072B2",
            elinewidth=1,
            capsize=2,
        )
        below = row["step"] in _BELOW
        axes.annotate(
            row["step"],
            (cost, accuracy),
            (5, -4 if below else 4),
            textcoords="offset points",
            va="top" if below else "bottom",
            fontsize=8,
        )
    axes.set_xlabel("cost of a step, in plain steps")
    axes.set_ylabel("test accuracy, mean ± standard deviation")
    axes.yaxis.set_major_formatter("{x:g}%")
    axes.margins(x=0.16)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str]) -> None:
    """Measures, if there are arguments, and prints and draws the table."""
    logging.set_verbosity(logging.ERROR)
    measured = [
        row
        for argument in arguments
        for network, results in [argument.split("=", 1)]
        for row in _measured(network, Path(results))
    ]
    if measured:
        with _TABLE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, measured[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(measured)
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    print("\n".join(table(rows)))
    picture(rows).savefig(_PICTURE)


if __name__ == "__main__":
    main(sys.argv[1:])
