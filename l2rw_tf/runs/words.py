"""Text about a run: its heading, the banner of a fallback data set, the closing table."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from l2rw_tf.data.settings import AS_GIVEN, TRUE, TRUSTED, DataSettings
from l2rw_tf.runs.paired import Difference
from l2rw_tf.runs.results import (
    HELD_OUT_TRUSTED,
    RunResults,
    TrainingResults,
    percent,
    standard_error,
)

if TYPE_CHECKING:
    # This module needs TensorFlow, which comparisons need not load.
    from l2rw_tf.data.prepared_data import PreparedData

_WIDTH = 80


def heading(settings: DataSettings, data: PreparedData, seed: int) -> str:
    """Returns one line with the data set, its imbalance and noise, and the seed.

    Args:
        settings: The data settings.
        data: The prepared data.
        seed: The run's seed.
    """
    name = data.source.name
    if settings.classes:
        name += f" ({', '.join(data.source.class_names)})"
    if settings.imbalance_type != "none":
        name += f", classes {settings.imbalance_ratio:.4g}:1"
    if settings.imbalance_type == "long_tailed":
        name += ", long-tailed"
    noise = noise_in_words(settings, data.wrong_label_share)
    if settings.noise_type == "none" and data.wrong_in_source is not None:
        noise += f" ({percent(data.wrong_in_source)} of the source's labels are wrong)"
    return f"{name}, {noise}, seed {seed}"


def fallback_banner(asked: str, used: str, reason: str) -> str:
    """Returns a banner that says that a fallback data set is used.

    Args:
        asked: The data set that was asked for.
        used: The data set that is used instead.
        reason: Why `asked` is not available, and how to get it.
    """
    inside = [
        "",
        f"{asked} IS NOT AVAILABLE: THIS RUN USES {used} INSTEAD",
        "",
        *textwrap.wrap(reason, _WIDTH - 8),
        "",
        f"All results of this run are on {used}, not on {asked}.",
        "",
    ]
    edge = "#" * _WIDTH
    return "\n".join([edge, *(f"#   {line:{_WIDTH - 8}}   #" for line in inside), edge])


def accuracy(result: TrainingResults) -> str:
    """Returns the accuracy of a training, with its standard error if on trusted examples."""
    if result.accuracy is None:
        return "not known"
    error = result.trusted_accuracy_error
    margin = "" if error is None else f" ± {percent(error)}"
    return percent(result.accuracy) + margin


def difference(before: TrainingResults, now: TrainingResults) -> str:
    """Returns the change in accuracy between two trainings, with its standard error."""
    if before.accuracy is None or now.accuracy is None:
        return "not known"
    errors = [
        standard_error(one.accuracy, one.examples["test"])
        if one.trusted_accuracy_error is None
        else one.trusted_accuracy_error
        for one in (before, now)
    ]
    change, error = now.accuracy - before.accuracy, math.hypot(*errors)
    within = ", within its standard error" if abs(change) <= error else ""
    return f"{change:+.1%} ± {percent(error)}{within}"


def against_plain(results: RunResults, titles: Mapping[str, str]) -> str:
    """Returns which of a run's two trainings is better, and whether that may be chance.

    Args:
        results: Results of the run.
        titles: Titles of the methods, by name.

    Returns:
        One or two sentences; empty if the run did not train both plainly and with another method.
    """
    plain = results.plain
    if plain is None or results.method == "plain":
        return ""
    own_title, plain_title = titles[results.method], titles["plain"]
    found = results.against_plain
    if found is None:
        return (
            f"It is not known whether {own_title} or {plain_title} is better: no examples with "
            "true labels were held out."
        )
    by = (
        f"{abs(found.accuracy):.1%} ± {percent(found.standard_error)} "
        f"({abs(found.standard_errors):.1f} standard errors)"
    )
    of = f"on {found.examples:,} {'test' if results.test_labels == TRUE else 'trusted'} examples"
    first, second = own_title, plain_title
    if found.accuracy < 0:
        first, second = second, first
    if found.is_difference(found.accuracy):
        said = f"Better {of}: {first}, by {by}."
    elif found.accuracy:
        said = f"No significant difference {of}: {first} is ahead by {by}."
    else:
        said = f"No difference {of}: {first} and {second} are right equally often."
    if found.is_worse:
        said += f" {_ranking(results, plain)}"
    return " ".join(
        [said, *_stopped_early(results, found, plain_title), *_memorized(results, found)]
    )


def _ranking(results: RunResults, plain: TrainingResults) -> str:
    """Returns a sentence on which network ranks the labels, if plain training is better."""
    if results.is_ranked_by_plain:
        return "Its network ranks the labels; l2rw predict --plain_network uses it."
    if plain.has_memorized:
        return (
            "The other network ranks the labels, since this one may have memorized them "
            f"({_on_given_labels(plain)})."
        )
    return (
        "The other network ranks the labels, since none were held out to tell whether plain "
        "training has memorized them (--validation_fraction)."
    )


def _stopped_early(results: RunResults, found: Difference, plain_title: str) -> list[str]:
    """Returns a sentence on early-stopped plain training, if it changes what to choose."""
    assert results.plain is not None
    choice = results.plain.chosen_by_clean
    there = None if choice is None else results.plain.accuracy_at(choice)
    ends = [one.accuracy for one in (results, results.plain) if one.accuracy is not None]
    if choice is None or there is None or not ends:
        return []
    stopped = (
        f"{plain_title} stopped at epoch {choice.epoch}, chosen by the clean examples: "
        f"{percent(there)} (--method=plain --early_stopping --early_stopping_on=clean)."
    )
    ahead = there - max(ends)
    if ahead > 0 and found.is_difference(ahead):
        return [f"Better still: {stopped}"]
    if found.is_better and not found.is_difference(ahead):
        return [f"Not significantly worse: {stopped}"]
    return []


def _memorized(results: RunResults, found: Difference) -> list[str]:
    """Returns a sentence if plain training is not worse and has memorized few labels."""
    plain = results.plain
    assert plain is not None
    if found.is_better or plain.has_memorized is not False:
        return []
    return [
        f"Plain training has memorized few labels ({_on_given_labels(plain)}); reweighting helps "
        "most if it memorizes them."
    ]


def _on_given_labels(result: TrainingResults) -> str:
    return (
        f"accuracy {percent(result.training_accuracy)} on the training labels, "
        f"{percent(result.validation_accuracy)} on held-out ones"
    )


def measured_on(result: TrainingResults, kind: str = "examples") -> str:
    """Returns which examples the accuracies of a run are measured on.

    Args:
        result: Results of one of its trainings.
        kind: A plural noun for the examples, such as "images".
    """
    tests = f"{result.examples['test']:,} test {kind}"
    if result.test_labels == TRUE:
        return f"on {tests} with true labels."
    if result.test_labels == TRUSTED:
        number = result.examples["test"]
        return f"on {number:,} held-out trusted {kind}, ± its standard error."
    as_given = (
        f"The labels of the {tests} are as given and may be wrong: agreement with them is not "
        "accuracy."
    )
    if result.accuracy is None:
        return f"not known, because no {kind} with true labels were held out. {as_given}"
    number = result.examples[HELD_OUT_TRUSTED]
    return f"on {number:,} held-out trusted {kind}, ± its standard error. {as_given}"


def closing_table(results: Sequence[TrainingResults], titles: Mapping[str, str]) -> str:
    """Returns the table of a finished run, and what accuracy is measured on if not the test data.

    Args:
        results: Results of each training.
        titles: Titles of the methods, by name.
    """
    labels = results[0].test_labels
    names = {
        TRUE: ["test accuracy"],
        TRUSTED: ["accuracy"],
        AS_GIVEN: ["accuracy", "given test labels"],
    }
    head = ("", *names[labels], "test loss", "training", "one step")
    rows = [
        (
            titles[result.method],
            accuracy(result),
            *([percent(result.test_accuracy)] if labels == AS_GIVEN else []),
            f"{result.test_loss:.4f}",
            f"{result.train_seconds:.1f} s",
            f"{result.step_seconds * 1000:.1f} ms",
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for first, *others in (head, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("   ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    if labels != TRUE:
        lines += ["", *textwrap.wrap(f"accuracy: {measured_on(results[0])}", _WIDTH)]
    return "\n".join(lines)


def noise_in_words(settings: DataSettings | RunResults, wrong_label_share: float | None) -> str:
    """Returns a description of the label noise, for headings.

    Args:
        settings: The data settings, or the results of a run.
        wrong_label_share: The fraction of training labels that are wrong; None to leave it out.
    """
    if settings.noise_type == "none":
        return "labels as they are"
    words = f"{settings.noise_type} flip of {settings.noise_ratio:.4g} of the labels"
    if wrong_label_share is not None:
        words += f" ({percent(wrong_label_share)} wrong)"
    return words
