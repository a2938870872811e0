"""The methods that a run can train with, by name.

A new one is a file here, which has a `Method` of that name and says where it comes from, what it
does and what it needs; and a line in `METHODS`. TensorFlow is imported when a method is used, so
that the settings can list the names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from l2rw_tf.methods.method import Method


class Entry(NamedTuple):
    """What is known of a method before it is imported.

    Attributes:
        title: What tables and figures call it.
        summary: What it does, for `--help`.
        file: The file that has it.
    """

    title: str
    summary: str
    file: str


METHODS = {
    "l2rw": Entry(
        "reweighted", "examples are reweighted by the clean data (Ren et al. 2018)", "l2rw"
    ),
    "plain": Entry("plain", "ordinary training", "plain"),
    "random": Entry(
        "random weights", "rectified Gaussian weights, drawn anew for each batch", "random_weights"
    ),
    "proportion": Entry("proportion", "classes weighted by their inverse frequency", "proportion"),
    "resample": Entry("resampling", "class-balanced batches, drawn with repetition", "resample"),
    "hard_mining": Entry(
        "hard mining",
        "of the largest class only the hardest examples of a batch, as many as others have",
        "hard_mining",
    ),
    "reed_soft": Entry(
        "bootstrapping, soft",
        "5 % of the target is the prediction (Reed et al. 2014)",
        "bootstrapping",
    ),
    "reed_hard": Entry(
        "bootstrapping, hard",
        "20 % of the target is the class predicted (Reed et al. 2014)",
        "bootstrapping",
    ),
    "s_model": Entry(
        "S-model", "a noise adaptation layer on top (Goldberger and Ben-Reuven 2017)", "s_model"
    ),
    "s_model_conf": Entry(
        "S-model + confusion",
        "the same after half of the epochs trained plainly, started from their confusion matrix",
        "s_model",
    ),
    "weighted": Entry(
        "weighted (oracle)",
        "classes weighted by their true size over that of the labels given, which an oracle knows",
        "weighted",
    ),
    "clean_only": Entry("clean only", "ordinary training on the clean data alone", "clean_only"),
    "gce": Entry(
        "generalized cross-entropy",
        "a loss between cross-entropy and absolute error (Zhang and Sabuncu 2018)",
        "gce",
    ),
}


def get(name: str) -> Method:
    """Returns a method.

    Args:
        name: Its name in `METHODS`.
    """
    return getattr(importlib.import_module(f"{__name__}.{METHODS[name].file}"), name)
