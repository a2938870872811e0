"""The methods that a run can train with, by name.

To add a method, add a file here that defines a `Method` of its name and says where it comes from,
what it does and what it needs, and a line in `METHODS`. TensorFlow is imported only when a method
is used, so that the settings can list the names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from l2rw_tf.methods.method import Method


class Entry(NamedTuple):
    """The description of a method, known before it is imported.

    Attributes:
        title: Its name in tables and figures.
        summary: What it does, for `--help`.
        file: The file that defines it, if not named after it.
    """

    title: str
    summary: str
    file: str = ""


METHODS = {
    "l2rw": Entry("reweighted", "examples weighted with the clean data (Ren et al. 2018)"),
    "plain": Entry("plain", "ordinary training"),
    "random": Entry(
        "random weights", "rectified Gaussian weights, drawn anew for each batch", "random_weights"
    ),
    "proportion": Entry("proportion", "classes weighted by their inverse frequency"),
    "resample": Entry("resampling", "class-balanced batches, drawn with replacement"),
    "hard_mining": Entry(
        "hard mining",
        "only the hardest examples of the largest class in each batch, to balance it",
    ),
    "reed_soft": Entry(
        "bootstrapping, soft",
        "targets mixed with 5% of the prediction (Reed et al. 2014)",
        "bootstrapping",
    ),
    "reed_hard": Entry(
        "bootstrapping, hard",
        "targets mixed with 20% of the predicted class (Reed et al. 2014)",
        "bootstrapping",
    ),
    "s_model": Entry("S-model", "a noise adaptation layer on top (Goldberger and Ben-Reuven 2017)"),
    "s_model_conf": Entry(
        "S-model + confusion",
        "the same, started after half of the epochs from the confusion matrix of plain training",
        "s_model",
    ),
    "weighted": Entry(
        "weighted (oracle)",
        "classes weighted by their true size over their given size; needs the true labels",
    ),
    "clean_only": Entry("clean only", "ordinary training on the clean data only"),
    "plain_with_clean": Entry(
        "plain + clean", "ordinary training on the training and the clean data together"
    ),
    "forward": Entry(
        "forward correction",
        "a loss corrected by the noise's transition matrix, estimated after plain training "
        "(Patrini et al. 2017)",
    ),
    "forward_true": Entry(
        "forward correction (oracle)",
        "the same with the true transition matrix; needs the true labels",
        "forward",
    ),
    "glc": Entry(
        "gold loss correction",
        "the same with a matrix from the clean data, also trained on (Hendrycks et al. 2018)",
        "gold_loss_correction",
    ),
    "elr": Entry(
        "early-learning regularization",
        "predictions kept close to those early in training (Liu et al. 2020)",
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
