"""Scores and ranks labels by how likely they are wrong, from a record of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from l2rw_tf.errors import UsageError

Table = Mapping[str, np.ndarray]

# Labels of lower quality are suspected by default.
SUSPECT_BELOW = 0.2

# Measured in docs/label_errors.md: the loss averaged over training still reflects the epochs before
# a wrong label was memorized; the final network discriminates classes better; gradient alignment
# breaks ties.
_FINAL_SHARE = 0.25
_ALIGNMENT_SHARE = 0.1
_ALIGNMENT_SLOPE = 4.0


def label_quality(table: Table) -> np.ndarray:
    """Scores every label, near 1 if it looks right and near 0 if it is suspect.

    (p/4 + 3m/4 + 0.1 σ(4ū)) / 1.1, where p is the probability that the trained network gives the
    label, m = exp(−mean cross-entropy) its geometric mean over the example's visits in training,
    and ū the example's mean meta-gradient, scaled per batch. Without a record of training, the
    score is p; without probabilities (regression, several labels, sequences), it is σ(4ū).

    Args:
        table: `mean_u` and `mean_loss`, as returned by `ReweightingModel.example_record`, with
            `given_probability` for classification, or `given_probability` alone; each of shape
            (n,). NaN in the record marks an example that was never seen.

    Returns:
        float64, shape (n,), between 0 and 1.

    Raises:
        UsageError: If there is neither `mean_u` nor `given_probability`.
    """
    if "mean_u" not in table:
        if "given_probability" not in table:
            raise UsageError(
                "label_quality needs a column mean_u or given_probability, got "
                f"{', '.join(table) or 'none'}."
            )
        return np.asarray(table["given_probability"], np.float64)
    mean_u = np.nan_to_num(np.asarray(table["mean_u"], np.float64))
    alignment = 1 / (1 + np.exp(-_ALIGNMENT_SLOPE * np.clip(mean_u, -50, 50)))
    if "given_probability" not in table:
        return alignment
    final = np.asarray(table["given_probability"], np.float64)
    over_run = np.exp(-np.asarray(table.get("mean_loss", np.full(len(final), np.nan)), np.float64))
    over_run = np.where(np.isnan(over_run), final, over_run)
    probability = _FINAL_SHARE * final + (1 - _FINAL_SHARE) * over_run
    return (probability + _ALIGNMENT_SHARE * alignment) / (1 + _ALIGNMENT_SHARE)


def basis_of_score(table: Table, of_plain_network: bool = False) -> str:
    """Returns, as text, what the score of `with_quality` is based on."""
    if of_plain_network:
        return "the probability that the plainly trained network (plain.keras) gives the label"
    if "given_probability" not in table:
        return "how well an example's gradient agrees with that of the clean examples (alignment)"
    over_run = "" if "mean_u" not in table else " during and after training, and gradient alignment"
    return f"the probability that the network gives the label{over_run}"


def with_quality(table: Table, of_plain_network: bool = False) -> dict[str, np.ndarray]:
    """Returns the table with a column `label_quality`.

    Args:
        table: As for `label_quality`.
        of_plain_network: Whether the predictions in the table are those of a network that was
            trained plainly, while the record is that of a reweighted training. The score is then
            the probability of the label alone.
    """
    scored = {"given_probability": table["given_probability"]} if of_plain_network else table
    return {**table, "label_quality": label_quality(scored)}


def ranked(table: Table) -> dict[str, np.ndarray]:
    """Returns the table sorted by its column `label_quality`, the most suspicious label first."""
    order = np.argsort(table["label_quality"], kind="stable")
    return {name: column[order] for name, column in table.items()}


def suspects(
    table: Table, threshold: float = SUSPECT_BELOW, expected_noise: float | None = None
) -> np.ndarray:
    """Finds the suspected labels, by a threshold or as a fraction of all.

    Args:
        table: With a column `label_quality` and, if available, `given_label` and
            `suggested_label`.
        threshold: Labels of a quality below it are suspected, unless the network suggests the same
            label; 0.2 by default.
        expected_noise: The fraction of labels to suspect, the worst ones; replaces `threshold`.

    Returns:
        Whether a label is suspected, bool, shape (n,).
    """
    quality = table["label_quality"]
    if expected_noise is None:
        differs = "suggested_label" not in table or (
            table["suggested_label"] != table["given_label"]
        )
        return (quality < threshold) & differs
    found = np.zeros(len(quality), bool)
    found[np.argsort(quality, kind="stable")[: round(expected_noise * len(quality))]] = True
    return found


def wrong_labels(table: Table) -> np.ndarray | None:
    """Returns which labels are wrong, bool, shape (n,), or None if unknown.

    Args:
        table: With the columns `given_label` and, if it is known, `true_label`.
    """
    return table["given_label"] != table["true_label"] if "true_label" in table else None


def doubtful(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds trusted examples whose label is probably wrong, by confident learning.

    The network is confident of a class if its probability is at least the average probability that
    the network gives to the class for the trusted examples of that class (Northcutt et al. 2021,
    arXiv 1911.00068). An example is doubtful if the class that the network is most confident of is
    not its label.

    Args:
        probabilities: Predictions of a network that was not trained on the examples, (n, classes).
        labels: Their labels, integers (n,).

    Returns:
        Whether a label is doubtful, bool, shape (n,).
    """
    thresholds = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = probabilities[labels == label, label].mean()
    confident = np.where(probabilities >= thresholds, probabilities, 0)
    return confident.any(axis=1) & (confident.argmax(axis=1) != labels)


@dataclasses.dataclass(frozen=True)
class Detection:
    """How well a ranking finds the labels that are actually wrong.

    Attributes:
        auroc: The probability that a wrong label has a lower quality than a right one.
        average_precision: Area under the precision-recall curve of finding wrong labels.
        precision_at_true_number: Fraction of wrong labels among the k worst of k wrong labels.
    """

    auroc: float
    average_precision: float
    precision_at_true_number: float


def detection(table: Table) -> Detection | None:
    """Measures the ranking; None unless true labels are known and some, but not all, are wrong.

    Args:
        table: With the columns `label_quality`, `given_label` and `true_label`, if it is known.
    """
    wrong = wrong_labels(table)
    if wrong is None or wrong.all() or not wrong.any():
        return None
    from sklearn import metrics

    quality = table["label_quality"]
    worst = np.argsort(quality, kind="stable")[: wrong.sum()]
    return Detection(
        auroc=float(metrics.roc_auc_score(~wrong, quality)),
        average_precision=float(metrics.average_precision_score(wrong, -quality)),
        precision_at_true_number=float(wrong[worst].mean()),
    )
