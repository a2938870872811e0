"""The oracle: each given class weighted by its true size over the size that it was given.

What knowing the sizes of the true classes is worth, and nothing about any example. It needs the
true labels, which are known only if a run makes wrong ones itself.
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
            "method weighted needs to know the true labels, which are known only if noise_type "
            "makes wrong ones, got noise_type=none; proportion needs the given labels alone."
        )
    true_counts = np.bincount(true_y, minlength=data.source.num_classes)
    return by_class(class_weights(data.training_class_counts, true_counts))


weighted = Method(sample_weights=_sample_weights)
