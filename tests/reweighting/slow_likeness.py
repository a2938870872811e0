"""The comparison with the clean examples as plain loops, from its formulas."""

from __future__ import annotations

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
    width = 0.1 + 1 / number
    rows = []
    for i in range(size):
        near_clean = sum(
            s * max(0, 1 - abs(r - ranks[i]) / width)
            for s, r in zip(clean_share, clean_ranks, strict=True)
        )
        near = sum(
            s * max(0, 1 - abs(r - ranks[i]) / width) for s, r in zip(share, ranks, strict=True)
        )
        a, b = 1 + number * near_clean, 1 + number * near
        if ranks[i] >= 0.5:
            a = max(a, b)
        weights = number * clean_share[1::2]
        no_better = sum(s for s, other in zip(weights, other_clean_u, strict=True) if other <= u[i])
        c = (1 + no_better) / (1 + sum(weights))
        d = sum(s for s, other in zip(share, u, strict=True) if other <= u[i])
        rows.append([a, b, c, d])
    unlike = 1 - np.dot(share, [min(1, a / b) for a, b, _, _ in rows])
    return unlike**2 * np.array(rows)


def slow_trust(sums, losses, sample_weight, clean_loss):
    """`likeness.trust`."""
    doubts = []
    for a, b, c, d in sums:
        r = (min(1, a / b) if b > 0 else 1) * (min(1, c / d) if d > 0 else 1)
        doubts.append((1 - min(1, 2 * r)) * 5 / 4)
    trusted = [s * max(0, 1 - one) for s, one in zip(sample_weight, doubts, strict=True)]
    training_loss = np.dot(trusted, losses) / max(np.sum(trusted), 1e-12)
    gap = min(20, max(1, clean_loss / max(training_loss, 1e-9)))
    return np.array([max(0, 1 - gap**2 * one) for one in doubts])
