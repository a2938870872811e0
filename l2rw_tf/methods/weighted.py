"""The oracle: each class weighted by its true size divided by its size in the given labels.

Shows what it is worth to know the true class sizes, but nothing about single examples. It needs the
true labels, which are known if a run adds the noise itself or the data set has them.
"""

from __future__ import annotations

import numpy as np

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.errors import UsageError
from l2rw_tf.methods.method import Method, SampleWeights
from l2rw_tf.methods.proportion import by_class, class_weights


def _sample_weights(seed: int, data: PreparedData) -> SampleWeights:
    true_y = data.splits.train.true_y
    if true_y is None:
        raise UsageError(
            "method weighted needs the true labels: set noise_type or true_label_column, or use "
            "method proportion, which only needs the given labels."
        )
    true_counts = np.bincount(true_y, minlength=data.source.num_classes)
    return by_class(class_weights(data.training_class_counts, true_counts))


weighted = Method(sample_weights=_sample_weights)
