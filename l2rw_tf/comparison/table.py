"""The rows of a comparison as CSV and Markdown."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Sequence
from typing import Any

from l2rw_tf.comparison.plan import Cell, Plan
from l2rw_tf.comparison.rows import Row, SeedDifference, Statistic
from l2rw_tf.data.settings import TRUE
from l2rw_tf.runs import words


def cells(planned: Plan, found: Sequence[Row], command: str) -> tuple[list[str], list[list[Any]]]:
    """Returns the column names and the rows of results.csv, with unrounded numbers.

    Args:
        planned: The comparison.
        found: The rows of its table.
        command: The command line of the comparison, for the last column.
    """
    flag, _ = planned.comparison.swept
    columns = [
        "method",
        *([flag] if flag else []),
        "test_accuracy_mean",
        "test_accuracy_std",
        "chosen_test_accuracy_mean",
        "chosen_test_accuracy_std",
        "clean_chosen_test_accuracy_mean",
        "clean_chosen_test_accuracy_std",
        "difference_from_first_method",
        "difference_standard_error",
        "seeds",
        "learning_rate",
        "steps",
        "step_seconds",
        "dataset",
        "accuracy",
        "command",
    ]
    return columns, [
        [
            row.cell.variant,
            *([row.cell.value] if flag else []),
            *_numbers(row.accuracy),
            *_numbers(row.chosen),
            *_numbers(row.chosen_by_clean),
            *_numbers(row.difference),
            " ".join(map(str, row.results)),
            row.learning_rate,
            row.steps,
            row.step_seconds,
            row.first.dataset,
            row.accuracy_name,
            command,
        ]
        for row in found
    ]


def as_markdown(planned: Plan, found: Sequence[Row], command: str, notes: Sequence[str]) -> str:
    """Returns results.md: the command, what was compared, and the table, in percent.

    Args:
        planned: The comparison.
        found: The rows of its table.
        command: The command line of the comparison.
        notes: Lines to append, such as which runs failed.
    """
    flag, _ = planned.comparison.swept
    parts = [f"```sh\n{command}\n```"]
    if found:
        parts.append(_description(planned, found))
        if flag:
            name = found[0].accuracy_name.capitalize()
            parts.append(f"{name} in %:\n\n" + _pivot(planned, found, "accuracy"))
            if any(row.chosen for row in found):
                chosen = _pivot(planned, found, "chosen")
                parts.append("At the epoch that the held-out labels chose:\n\n" + chosen)
            if any(row.chosen_by_clean for row in found):
                chosen = _pivot(planned, found, "chosen_by_clean")
                parts.append("At the epoch that the clean examples chose:\n\n" + chosen)
            if any(row.difference for row in found):
                name = planned.comparison.methods[0]
                parts.append(
                    f"Difference from {name} of the trained network, ± its standard error:\n\n"
                    + _pivot(planned, found, "difference")
                )
        else:
            parts.append(table(found))
        parts += _reports(planned, found)
    parts += notes
    return "\n\n".join(parts) + "\n"


def _reports(planned: Plan, found: Sequence[Row]) -> list[str]:
    """Returns links to the reports of the runs, one line per row of the table."""
    lines = []
    for row in found:
        links = []
        for seed in row.results:
            page = planned.run_directory(planned.runs[row.cell, row.learning_rate, seed])
            page /= "report.html"
            if page.exists():
                target = urllib.parse.quote(page.relative_to(planned.directory).as_posix())
                links.append(f"[seed {seed}]({target})")
        if links:
            lines.append(f"- {_label(row)}: {', '.join(links)}")
    return ["Reports of the runs:\n\n" + "\n".join(lines)] if lines else []


def _label(row: Row) -> str:
    return f"{row.cell.variant} ({row.cell.value})" if row.cell.value else row.cell.variant


def table(found: Sequence[Row]) -> str:
    """Returns the rows as a Markdown table; accuracies are in percent.

    Args:
        found: The rows; the swept value follows the method's name.
    """
    compared_with = [row.baseline.cell.variant for row in found if row.baseline and row.difference]
    head = [
        "method",
        found[0].accuracy_name,
        "epoch by held-out",
        "epoch by clean",
        *[f"difference from {method} ± standard error" for method in compared_with[:1]],
        "seeds",
        "learning rate",
        "steps",
        "one step",
    ]
    body = [
        [
            _label(row),
            percent(row.accuracy),
            percent(row.chosen),
            percent(row.chosen_by_clean),
            *([percent(row.difference)] if compared_with else []),
            str(len(row.results)),
            f"{row.learning_rate:g}",
            f"{row.steps:,}",
            f"{row.step_seconds * 1000:.1f} ms",
        ]
        for row in found
    ]
    return _markdown(head, body)


def percent(statistic: Statistic | SeedDifference | None) -> str:
    """Returns mean ± standard deviation (of a difference: standard error), or a dash for None."""
    if statistic is None:
        return "–"
    if isinstance(statistic, SeedDifference):
        return f"{100 * statistic.mean:+.2f} ± {100 * statistic.standard_error:.2f}"
    if statistic.deviation is None:
        return f"{100 * statistic.mean:.2f}"
    return f"{100 * statistic.mean:.2f} ± {100 * statistic.deviation:.2f}"


def _pivot(planned: Plan, found: Sequence[Row], figure: str) -> str:
    """Returns a Markdown table with a row per method and a column per swept value."""
    flag, values = planned.comparison.swept
    by_cell = {row.cell: row for row in found}
    body = []
    for variant in planned.comparison.methods:
        cells = [by_cell.get(Cell(variant, value)) for value in values]
        body.append([variant, *(percent(row and getattr(row, figure)) for row in cells)])
    return _markdown([f"{flag} =", *values], body)


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [
        "| "
        + " | ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
        + " |"
        for cells in (head, *body)
    ]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _description(planned: Plan, found: Sequence[Row]) -> str:
    first = found[0].first
    datasets = sorted({result.dataset for row in found for result in row.results.values()})
    classes = ""
    if any(run.config.classes for run in planned.runs.values()):
        classes = f" ({', '.join(first.class_names)})"
    sizes = ", ".join(f"{size:,} {name}" for name, size in first.examples.items())
    sentences = [f"{', '.join(datasets)}{classes}: {sizes} examples."]
    if first.dataset != first.requested_dataset:
        sentences.append(f"**{first.requested_dataset} was not available.**")
    if planned.comparison.learning_rates:
        sentences.append(
            f"Learning rates from {_listed(planned.comparison.learning_rates)}, chosen for each "
            "row by the first seed's accuracy on the held-out labels."
        )
    noisy = any(
        choice and choice.validation_labels == "corrupted"
        for row in found
        for choice in (result.chosen_by_validation for result in row.results.values())
    )
    state = "as noisy as the training labels" if noisy else "as given"
    sentences.append(
        f"{found[0].accuracy_name.capitalize()} of the trained network, mean ± standard deviation "
        f"over seeds {_listed(planned.comparison.seeds)}; also at the epoch chosen by the held-out "
        f"labels ({state}), and at the epoch chosen by the clean examples if the method does not "
        f"train on them. Device: {first.device}."
    )
    if any(row.difference for row in found):
        sentences.append(
            f"Differences from {planned.comparison.methods[0]} are means over the seeds of both, ± "
            "their standard error (by chance, one in twenty is beyond ±4.3 standard errors with "
            "three seeds, ±2.8 with five)."
        )
    if first.test_labels != TRUE:
        sentences.append(f"Accuracy is {words.measured_on(first)}")
    return " ".join(sentences)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _numbers(statistic: Statistic | SeedDifference | None) -> tuple[float | None, ...]:
    return (None, None) if statistic is None else dataclasses.astuple(statistic)
