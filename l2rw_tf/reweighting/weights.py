"""From the meta-gradient to example weights: step 3 of the method (equations 6 to 9)."""

from __future__ import annotations

import tensorflow as tf

from l2rw_tf.reweighting.replicas import mean_over_examples, sum_over_replicas


def normalize(u: tf.Tensor, sample_weight: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the example weights w of a batch.

    Equations 8 and 9 of the paper: w̃_i = max(u_i, 0) and w_i = w̃_i / Σ_k w̃_k, all 0 if the sum
    is 0. A positive factor common to all u drops out. The user's sample weights s enter once:
    w̃_i = s_i max(u_i, 0).

    Args:
        u: Signed meta-gradient, float, shape (N,).
        sample_weight: The user's own weights s, shape (N,), or None for ones.

    Returns:
        w, of u's dtype, shape (N,): non-negative with sum 1, or all 0.
    """
    u = tf.convert_to_tensor(u)
    rectified = tf.maximum(u, 0)
    if sample_weight is not None:
        rectified *= tf.cast(sample_weight, u.dtype)
    return tf.math.divide_no_nan(rectified, sum_over_replicas(tf.reduce_sum(rectified)))


def scale(u: tf.Tensor) -> tf.Tensor:
    """Returns the meta-gradient divided by the mean of |u| over its batch.

    Args:
        u: Signed meta-gradient, float, shape (N,). Values that are not finite, as after an overflow
            in half precision, count as 0.
    """
    u = tf.where(tf.math.is_finite(u), u, 0)
    return tf.math.divide_no_nan(u, mean_over_examples(tf.abs(u)))


def effective_batch_size(weights: tf.Tensor) -> tf.Tensor:
    """Returns the effective number of examples, (Σ w)² / Σ w²; n if n weights are equal, others 0.

    Args:
        weights: Example weights, non-negative, shape (N,); if normalized, the result is 1 / Σ w².

    Returns:
        A scalar between 1 and N, or 0 if all weights are 0.
    """
    weights = tf.cast(weights, tf.float32)
    parts = [tf.reduce_sum(weights), tf.reduce_sum(tf.square(weights))]
    total, squares = sum_over_replicas(parts)
    return tf.math.divide_no_nan(tf.square(total), squares)


def zero_weight_share(weights: tf.Tensor) -> tf.Tensor:
    """Returns the fraction of the examples whose weight is 0, a scalar.

    Args:
        weights: Example weights, shape (N,).
    """
    return mean_over_examples(tf.cast(tf.equal(weights, 0), weights.dtype))
