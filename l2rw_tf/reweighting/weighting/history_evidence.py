"""How like the clean examples a training example is, by its loss and by its alignment.

The clean examples take no part in the update, so that their losses are those of right labels that
the network has not seen. An example whose loss is rare among them and common among the training
examples is likely to be wrong, and so is one whose gradient disagrees with the clean gradient as
few clean examples' do. Ranks among the clean examples are p-values (Bates et al. 2023, "Testing for
outliers with conformal p-values"); two shares beside each other, times the share of right labels,
are one less the local false discovery rate of Efron (2004), the probability that a label is right.
Weighted by it, wrong labels are to the expected loss as if they were not there (Liu and Tao 2016,
"Classification with noisy labels by importance reweighting"). Not in the paper.
"""

from __future__ import annotations

import tensorflow as tf

from l2rw_tf.reweighting.replicas import gather_examples, sum_over_replicas
from l2rw_tf.reweighting.weighting.history_clean import CleanReference
from l2rw_tf.reweighting.weights import normalize

_LARGEST_GAP = 20.0
# How far examples by their r are against the clean gradient as a whole, in units of the batch's
# mean |u|, before the paper's weights come in, and where there is nothing else. Below is noise.
_NOT_AGAINST = 0.25
_AGAINST = 0.75
# From so many on, a network is taken to memorize its examples. Two could do (Zhang et al.
# 2017, "Understanding deep learning requires rethinking generalization"); the number that does was
# measured (docs/studies/history.md).
_PARAMETERS_AN_EXAMPLE = 10


def compare(
    losses: tf.Tensor, u: tf.Tensor, sample_weight: tf.Tensor | None, clean: CleanReference
) -> tf.Tensor:
    """Returns what one visit shows of each example, to be summed over visits.

    With F the share of the clean examples that have a larger loss (and half of those of an equal
    one), g(ℓ) = log(F(ℓ) + 1/(2M)), K(δ) = max(0, 1 − |δ|), and M' of the M clean examples held out
    of the gradient that u is taken along:

        a_i = 1 + Σ_j K(g(ℓ^v_j) − g(ℓ_i)),                  the clean losses near ℓ_i,
        b_i = 1 + M/N Σ_k K(g(ℓ_k) − g(ℓ_i)),                the training losses near it,
        c_i = (1 + #{j held out : u^v_j ≤ u_i}) / (1 + M'),  clean examples aligned no better,
        d_i = #{k : u_k ≤ u_i} / N,                          training examples aligned no better,
        γ   = 1 − (1/N) Σ_i min(1, a_i / b_i),               the share unlike the clean examples,
        p_i = min(1, (1 − γ) a_i / b_i) min(1, c_i / d_i),   an estimate of P(label is right).

    Near is thus the finer the fewer clean losses are larger: wrong labels are where hardly any is,
    and hard right ones not far from there. Where users gave weights, an example counts in all of
    these with its weight in units of the mean weight. A loss no larger than the clean median is no
    sign against an example: there both minima of a_i / b_i are 1. A visit counts with γ²: before
    the network has learned something, and once it has memorized wrong labels, losses tell nothing.
    It does not count where a u is not finite, as in a step that half precision overflowed in, and
    where all weights on one side are 0.

    Args:
        losses: ℓ of this replica's training examples, shape (n,).
        u: ⟨∇ℓ_i, d⟩ with d the second direction of `clean`, shape (n,).
        sample_weight: The user's own weights, shape (n,), or None for ones.
        clean: The clean batch.

    Returns:
        γ² p and γ², float32, shape (n, 2).
    """
    sample_weight = tf.ones_like(losses) if sample_weight is None else sample_weight
    losses, u, counts = (tf.cast(one, tf.float32) for one in (losses, u, sample_weight))
    all_losses, all_u, all_counts = gather_examples([losses, u, counts])
    clean_losses, clean_u, clean_counts, is_held_out = gather_examples(
        [
            tf.cast(one, tf.float32)
            for one in (clean.losses, clean.u, clean.weight, clean.is_held_out)
        ]
    )
    number = tf.cast(tf.size(clean_losses), tf.float32)
    all_shares, clean_shares = _shares(all_counts), _shares(clean_counts)
    held_out = number * clean_shares * is_held_out

    def rank(values: tf.Tensor) -> tf.Tensor:
        larger = tf.cast(clean_losses[None, :] > values[:, None], tf.float32)
        equal = tf.cast(clean_losses[None, :] == values[:, None], tf.float32)
        return tf.linalg.matvec(larger + equal / 2, clean_shares)

    def near(ranks: tf.Tensor, other_ranks: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
        g, others = (tf.math.log(one + 0.5 / number) for one in (ranks, other_ranks))
        return tf.linalg.matvec(tf.maximum(1 - tf.abs(others[None, :] - g[:, None]), 0), shares)

    def no_better(others: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matvec(tf.cast(others[None, :] <= u[:, None], tf.float32), counts)

    ranks = rank(losses)
    a = 1 + number * near(ranks, rank(clean_losses), clean_shares)
    b = 1 + number * near(ranks, rank(all_losses), all_shares)
    # Not by the exact half, which a sum of shares may miss by a rounding.
    is_sign = ranks < 0.5 - 1e-5
    c = (1 + no_better(clean_u, held_out)) / (1 + tf.reduce_sum(held_out))
    d = no_better(all_u, all_shares)
    gamma = 1 - _mean(tf.where(is_sign, _no_more_than_1(a, b), 1), counts)
    right = tf.where(is_sign, _no_more_than_1((1 - gamma) * a, b), 1) * _no_more_than_1(c, d)
    is_finite = tf.reduce_all(tf.math.is_finite(tf.concat([all_u, clean_u], 0)))
    shows = is_finite & (tf.reduce_sum(all_counts) > 0) & (tf.reduce_sum(clean_counts) > 0)
    # What rounding leaves of 0 would count as a visit.
    gamma = tf.where(shows & (gamma > 1e-6), gamma, 0)
    return tf.square(gamma) * tf.stack([right, tf.ones_like(right)], axis=1)


def probability(evidence: tf.Tensor) -> tf.Tensor:
    """Returns r, how probable it is that an example's label is right.

    Args:
        evidence: What `compare` returned, summed over the visits, shape (n, 2).

    Returns:
        The mean of p over the visits, each counting with its γ², between 0 and 1; float32, shape
        (n,); 1 for an example without a visit that counted.
    """
    right, visits = tf.unstack(evidence, axis=1)
    return tf.where(visits > 0, tf.minimum(tf.math.divide_no_nan(right, visits), 1), 1)


def trust(r: tf.Tensor, gap: tf.Tensor | float) -> tf.Tensor:
    """Returns how far each example is trusted, between 0 and 1.

        t_i = 1 / (1 + (√G (1 − r_i) / r_i)^(G²)):

    the probability itself for G = 1; the larger G, the nearer to a decision, for which a wrong
    label does √G times the harm that a right one does good.

    Args:
        r: What `probability` returned, shape (n,).
        gap: G, at least 1, a scalar.

    Returns:
        t, float32, shape (n,).
    """
    return tf.sigmoid(tf.square(gap) * (_log_odds(r) - tf.math.log(gap) / 2))


def capacity(parameters: int, examples: int) -> float:
    """Returns G₀ = P / (10 N), between 1 and 20: how far a network can memorize examples.

    Args:
        parameters: P, the network's trainable parameters.
        examples: N, of the training data, those that users gave the weight 0 included.
    """
    return min(max(parameters / (_PARAMETERS_AN_EXAMPLE * examples), 1.0), _LARGEST_GAP)


def weigh(
    evidence: tf.Tensor,
    losses: tf.Tensor,
    u: tf.Tensor,
    sample_weight: tf.Tensor | None,
    clean: CleanReference,
    visits: tf.Tensor,
    capacity_at_first: float,
) -> tf.Tensor:
    """Returns the example weights w of a batch.

    Examples count as they are trusted. As far as those that are likely right are against the clean
    gradient as a whole, as where a class has too many, a part λ of the weight goes as in the paper;
    as far as the network has memorized them, a part κ of the rest to those that are along it:

        w_i = (1 − λ) ((1 − κ) s_i t_i / Σ_j s_j t_j + κ s_i t_i u⁺_i / Σ_j s_j t_j u⁺_j)
              + λ s_i u⁺_i / Σ_j s_j u⁺_j,
        λ = max(0, min(1, −2 Σ_i s_i r_i u_i / Σ_j s_j r_j − 1/2)),
        κ = 1 − 1/G,

    with s the user's own weights, u⁺ = max(u, 0), and u in λ in units of the mean |u|. Each part is
    0 where nothing has weight in it, as where no u is above 0, and the others do not make up for
    it: a batch without the rare class hardly moves the network.

    A network that memorizes its training examples learns a wrong label from any weight, and
    needs a sharper cut: G = max(g^(1 − 1/G₀), G₀^(1/n))^(1 − λ), g the clean loss in units of the
    training loss (each weighted by the probability of the squared odds, 1 / (1 + ((1 − r) / r)²)),
    between 1 and 20, 1 for losses that are not positive. But g tells so once it is too late: at
    first the capacity G₀ stands for it, less and less with n, the visits to an example. A network
    with a G₀ of 1 is taken not to memorize them. With imbalanced classes, for which λ is near 1,
    the two losses differ by these alone.

    Args:
        evidence: What `compare` returned, summed over the visits, this one included, (n, 2).
        losses: ℓ of this replica's training examples, shape (n,).
        u: Their signed meta-gradient in units of the batch (`weights.scale`), shape (n,).
        sample_weight: s, which weights the training loss as well, shape (n,), or None for ones.
        clean: The clean batch.
        visits: How often each example was seen, this batch counted once, shape (n,); n is their
            mean.
        capacity_at_first: G₀, as `capacity` returns it.

    Returns:
        w, of u's dtype, shape (n,): not negative, with a sum of 1, or less by the empty parts.
    """
    losses, along = tf.cast(losses, tf.float32), tf.cast(u, tf.float32)
    r = probability(evidence)
    # By r itself, the few in a hundred that it leaves to wrong labels would make up the loss.
    likely = normalize(tf.sigmoid(2 * _log_odds(r)), sample_weight)
    sums = [normalize(r, sample_weight) * along, likely * losses]
    along_trusted, training_loss = sum_over_replicas([tf.reduce_sum(one) for one in sums])
    against = -tf.math.divide_no_nan(along_trusted, _mean(tf.abs(along), sample_weight))
    part = tf.clip_by_value((against - _NOT_AGAINST) / (_AGAINST - _NOT_AGAINST), 0, 1)
    gap = _mean(clean.losses, clean.weight) / tf.maximum(training_loss, 1e-9)
    gap = tf.where(training_loss > 0, tf.clip_by_value(gap, 1, _LARGEST_GAP), 1)
    gap = tf.pow(gap, 1 - 1 / capacity_at_first)
    at_first = tf.pow(capacity_at_first, 1 / tf.maximum(_mean(visits, sample_weight), 1))
    gap = tf.pow(tf.maximum(gap, at_first), 1 - part)
    t = trust(r, gap)
    kappa = 1 - 1 / gap
    trusted = (1 - kappa) * normalize(t, sample_weight)
    trusted += kappa * normalize(t * along, sample_weight)
    return tf.cast((1 - part) * trusted + part * normalize(along, sample_weight), u.dtype)


def _log_odds(r: tf.Tensor) -> tf.Tensor:
    return tf.math.log(r) - tf.math.log1p(-r)


def _mean(values: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    weight = tf.ones_like(values) if weight is None else weight
    values, weight = tf.cast(values, tf.float32), tf.cast(weight, tf.float32)
    sums = [tf.reduce_sum(weight * values), tf.reduce_sum(weight)]
    return tf.math.divide_no_nan(*sum_over_replicas(sums))


def _shares(counts: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(counts, tf.reduce_sum(counts))


def _no_more_than_1(part: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    """Their ratio, or 1; also where an example of weight 0 leaves the whole without any."""
    return tf.where(part < whole, tf.math.divide_no_nan(part, whole), 1)
