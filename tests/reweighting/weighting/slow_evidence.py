"""The comparison with the clean examples as plain loops, from its formulas."""

from __future__ import annotations

from math import log

import numpy as np


def slow_findings(losses, u, sample_weight, clean_losses, other_clean_u, clean_weight):
    """`likeness.compare` of one batch; `other_clean_u` is of every second clean example."""
    size, number = len(losses), len(clean_losses)
    clean_share = np.array(clean_weight) / np.sum(clean_weight)
    share = np.array(sample_weight) / np.sum(sample_weight)

    def rank(loss):
        harder = sum(s for s, other in zip(clean_share, clean_losses, strict=True) if other > loss)
        equal = sum(s for s, other in zip(clean_share, clean_losses, strict=True) if other == loss)
        return harder + equal / 2

    ranks, clean_ranks = [rank(one) for one in losses], [rank(one) for one in clean_losses]
    ratios, by_alignment = [], []

    def near(shares, its_ranks, at):
        distances = [abs(log(r + 0.5 / number) - log(at + 0.5 / number)) for r in its_ranks]
        return sum(s * max(0, 1 - one) for s, one in zip(shares, distances, strict=True))

    for i in range(size):
        a = 1 + number * near(clean_share, clean_ranks, ranks[i])
        b = 1 + number * near(share, ranks, ranks[i])
        weights = number * clean_share[1::2]
        no_better = sum(s for s, other in zip(weights, other_clean_u, strict=True) if other <= u[i])
        c = (1 + no_better) / (1 + sum(weights))
        d = sum(s for s, other in zip(share, u, strict=True) if other <= u[i])
        ratios.append(np.inf if ranks[i] >= 0.5 else a / b)
        by_alignment.append(min(1, c / d) if d > 0 else 1)
    alike = round(np.dot(share, np.minimum(1, ratios)), 6)
    right = np.minimum(1, alike * np.array(ratios)) * by_alignment
    return (1 - alike) ** 2 * np.stack([right, np.ones(size)], axis=1)


def slow_weights(sums, losses, u, sample_weight, clean_loss, visits, capacity):
    """`likeness.weigh`, its λ and its κ."""
    probabilities = [right / counted if counted > 0 else 1 for right, counted in sums]

    def trust(power, harm=1):
        return np.array([r**power / (r**power + (harm * (1 - r)) ** power) for r in probabilities])

    likely = shares(sample_weight * trust(2))
    scale = np.average(np.abs(u), weights=sample_weight) or 1
    against = -np.dot(shares(sample_weight * np.array(probabilities)), u)
    part = np.interp(against / scale, [0.25, 0.75], [0, 1])
    gap = min(20, max(1, clean_loss / max(np.dot(likely, losses), 1e-9)))
    at_first = capacity ** (1 / np.average(visits, weights=sample_weight))
    gap = max(gap ** (1 - 1 / capacity), at_first) ** (1 - part)
    trusted = trust(gap**2, gap**0.5)
    by_heart = 1 - 1 / gap
    along = sample_weight * np.maximum(u, 0)
    of_trusted = (1 - by_heart) * shares(sample_weight * trusted)
    of_trusted = of_trusted + by_heart * shares(along * trusted)
    return (1 - part) * of_trusted + part * shares(along), part, by_heart


def shares(values):
    return values / max(np.sum(values), 1e-12)
