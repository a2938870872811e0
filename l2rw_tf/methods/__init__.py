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
        file: The file that has it, if that is not of its name.
    """

    title: str
    summary: str
    file: str = ""


METHODS = {
    "l2rw": Entry("reweighted", "examples are reweighted by the clean data (Ren et al. 2018)"),
    "plain": Entry("plain", "ordinary training"),
    "random": Entry(
        "random weights", "rectified Gaussian weights, drawn anew for each batch", "random_weights"
    ),
    "proportion": Entry("proportion", "classes weighted by their inverse frequency"),
    "resample": Entry("resampling", "class-balanced batches, drawn with repetition"),
    "hard_mining": Entry(
        "hard mining",
        "of the largest class only the hardest examples of a batch, as many as others have",
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
    "s_model": Entry("S-model", "a noise adaptation layer on top (Goldberger and Ben-Reuven 2017)"),
    "s_model_conf": Entry(
        "S-model + confusion",
        "the same after half of the epochs trained plainly, started from their confusion matrix",
        "s_model",
    ),
    "weighted": Entry(
        "weighted (oracle)",
        "classes weighted by their true size over that of the labels given, which an oracle knows",
    ),
    "clean_only": Entry("clean only", "ordinary training on the clean data alone"),
    "plain_with_clean": Entry(
        "plain + clean", "ordinary training on the training and the clean data together"
    ),
    "forward": Entry(
        "forward correction",
        "the loss of what labels are given, by a matrix that a plainly trained network shows "
        "(Patrini et al. 2017)",
    ),
    "forward_true": Entry(
        "forward correction (oracle)",
        "the same by the true matrix, which an oracle knows",
        "forward",
    ),
    "glc": Entry(
        "gold loss correction",
        "the same by a matrix from the clean data, which is trained on too (Hendrycks et al. 2018)",
        "gold_loss_correction",
    ),
    "elr": Entry(
        "early-learning regularization",
        "predictions are kept near what they were early in training (Liu et al. 2020)",
        "early_learning",
    ),
    "gce": Entry(
        "generalized cross-entropy",
        "a loss between cross-entropy and absolute error (Zhang and Sabuncu 2018)",
    ),
}


def get(name: str) -> Method:
    """Returns a method.

    Args:
        name: Its name in `METHODS`.
    """
    return getattr(importlib.import_module(f"{__name__}.{METHODS[name].file or name}"), name)
