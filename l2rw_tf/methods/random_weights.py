"""Random weights: the rectified Gaussian baseline of Ren et al. 2018, section 4.1.

w_i = max(z_i, 0) / Σ_k max(z_k, 0) with z_i ~ N(0, 1), drawn anew for each batch: weights of a
similar distribution as the paper's, but without information about the examples.
"""

from __future__ import annotations

import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.randomness import Stream, tensorflow_seed
from l2rw_tf.methods.method import Method, SampleWeights


def random_weights(batch_size: tf.Tensor | int, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Returns the weights of a batch.

    Args:
        batch_size: N.
        seed: Two integers; the same ones give the same weights.

    Returns:
        w, float32, shape (N,): non-negative with sum 1 (or all 0, such as for a batch of one
        example whose z is negative).
    """
    rectified = tf.maximum(tf.random.stateless_normal([batch_size], seed, alg="philox"), 0)
    return tf.math.divide_no_nan(rectified, tf.reduce_sum(rectified))


def _sample_weights(seed: int, data: PreparedData) -> SampleWeights:
    numbers = tensorflow_seed(seed, Stream.RANDOM_WEIGHTS)

    def weigh(step: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        size = tf.shape(y)[0]
        return tf.cast(size, tf.float32) * random_weights(size, tf.random.fold_in(numbers, step))

    return weigh


random = Method(sample_weights=_sample_weights)
