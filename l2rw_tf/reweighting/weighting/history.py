"""Weights from what all visits to an example have shown: experimental, not in the paper."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting.meta_gradient import Estimator
from l2rw_tf.reweighting.objective import Batch, Objective
from l2rw_tf.reweighting.replicas import gather_examples
from l2rw_tf.reweighting.weighting import history_evidence
from l2rw_tf.reweighting.weighting.history_clean import CleanReference, clean_reference
from l2rw_tf.reweighting.weighting.weighting import Visit, Weighting
from l2rw_tf.reweighting.weights import scale


@keras.saving.register_keras_serializable(package="l2rw_tf")
class HistoryWeighting(Weighting):
    """Weights examples by how probable it is that their label is right.

    The estimate compares losses and alignments with those of the clean examples at every visit
    (`history_evidence.compare`) and adds up over the visits; `history_evidence.weigh` turns it into
    weights. docs/studies/history.md has the measurements.
    """

    meta_variables = "head"
    needs_rows = True
    # What `compare` found, summed over the visits.
    tables = {"evidence": 2}

    def clean_pass(
        self, objective: Objective, clean_batch: Batch, estimator: Estimator
    ) -> CleanReference:
        """Takes v, and the losses and alignments of the clean examples themselves."""
        return clean_reference(objective, clean_batch, estimator)

    def weigh(self, visit: Visit) -> tf.Tensor:
        """Returns the weights of a batch, (n,), and adds up what this visit has shown."""
        clean = visit.clean
        # By `clean_pass` and `needs_rows`.
        assert isinstance(clean, CleanReference)
        assert visit.times_seen is not None and self.num_examples is not None
        found = history_evidence.compare(
            visit.losses, visit.alignments[1], visit.sample_weight, clean
        )
        rows = self.rows_in_table(visit.rows)
        w = history_evidence.weigh(
            tf.gather(self.evidence.value, rows) + found,
            visit.losses,
            scale(visit.u),
            visit.sample_weight,
            clean,
            visit.times_seen + 1,
            history_evidence.capacity(visit.num_parameters, self.num_examples),
        )
        rows, found = gather_examples([rows, found])
        # By its handle, a variable of a strategy is the one of this replica.
        tf.raw_ops.ResourceScatterNdAdd(
            ref=self.evidence.value.handle, indices=rows[:, None], updates=found
        )
        return w

    def columns(self) -> dict[str, np.ndarray]:
        """Returns `likeness`: how probable it is that the label is right, between 0 and 1.

        NaN for an example without a visit that showed anything.
        """
        if self.num_examples is None:
            return {}
        evidence = self.evidence.value[:-1]
        r = tf.where(evidence[:, 1] > 0, history_evidence.probability(evidence), np.nan)
        return {"likeness": r.numpy()}


WEIGHTING = HistoryWeighting
