"""The comparison with the clean examples as plain loops, from its formulas."""

from __future__ import annotations

from math import exp, log

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
    rows, by_loss = [], []

    def near(shares, its_ranks, at):
        distances = [abs(log(r + 0.5 / number) - log(at + 0.5 / number)) for r in its_ranks]
        return sum(s * max(0, 1 - one) for s, one in zip(shares, distances, strict=True))

    for i in range(size):
        a = 1 + number * near(clean_share, clean_ranks, ranks[i])
        b = 1 + number * near(share, ranks, ranks[i])
        if ranks[i] >= 0.5:
            a = max(a, b)
        weights = number * clean_share[1::2]
        no_better = sum(s for s, other in zip(weights, other_clean_u, strict=True) if other <= u[i])
        c = (1 + no_better) / (1 + sum(weights))
        d = sum(s for s, other in zip(share, u, strict=True) if other <= u[i])
        by_loss.append(min(1, a / b))
        rows.append([log(by_loss[-1]) + (log(min(1, c / d)) if d > 0 else 0), 1])
    unlike = round(1 - np.dot(share, by_loss), 6)
    return unlike**2 * np.array(rows)


def slow_weights(sums, losses, u, sample_weight, clean_loss, visits, capacity):
    """`likeness.weigh`, its λ and its κ."""
    ratios = [exp(logs / counted) if counted > 0 else 1 for logs, counted in sums]

    def trust(gap):
        full = 1 - 0.5 / gap**0.5
        return np.array([max(0, 1 - gap**2 * (1 - min(1, r / full)) * 5 / 4) for r in ratios])

    fully = shares(sample_weight * trust(1))
    scale = np.average(np.abs(u), weights=sample_weight) or 1
    part = np.interp(-np.dot(fully, u) / scale, [0.25, 0.75], [0, 1])
    gap = min(20, max(1, clean_loss / max(np.dot(fully, losses), 1e-9)))
    at_first = capacity ** (1 / np.average(visits, weights=sample_weight))
    gap = max(gap, at_first) ** (1 - part)
    by_heart = (1 - 1 / gap) * (1 - 1 / capacity)
    along = sample_weight * np.maximum(u, 0)
    trusted = (1 - by_heart) * shares(sample_weight * trust(gap))
    trusted = trusted + by_heart * shares(along * trust(gap))
    return (1 - part) * trusted + part * shares(along), part, by_heart


def shares(values):
    return values / max(np.sum(values), 1e-12)
