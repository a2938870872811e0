"""What was done to the data of a run, in words."""

from __future__ import annotations

from l2rw_tf.runs.config import RunConfig
from l2rw_tf.runs.results import RunResults, percent


def noise_in_words(run: RunConfig | RunResults, wrong_label_share: float | None) -> str:
    """What was done to the labels, for headings.

    Args:
        run: The run's settings, or its results.
        wrong_label_share: The fraction of training labels that are wrong, if it is to be said.
    """
    if run.noise_type == "none":
        return "labels as they are"
    words = f"{run.noise_type} flip of {run.noise_ratio:.4g} of the labels"
    if wrong_label_share is not None:
        words += f" ({percent(wrong_label_share)} wrong)"
    return words


def classes_in_words(run: RunConfig | RunResults) -> str:
    """What was done to the sizes of the classes, for headings; empty if nothing was.

    Args:
        run: The run's settings, or its results.
    """
    if run.imbalance_type == "none":
        return ""
    words = f"classes {run.imbalance_ratio:.4g}:1"
    return words if run.imbalance_type == "two_class" else f"{words}, long-tailed"
