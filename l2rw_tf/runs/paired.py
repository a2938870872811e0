"""Compares the accuracies of two networks on the same examples, with the standard error."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

# `--help` imports this file and must be fast.
if TYPE_CHECKING:
    import numpy as np

# A difference counts if it is at least this many standard errors (by chance, one in twenty is).
_IS_DIFFERENT = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference in accuracy between two networks on the same examples.

    Attributes:
        accuracy: Accuracy of the first network minus that of the second.
        standard_error: Standard error of this difference due to the choice of examples; variation
            between seeds is not included.
        examples: The number of examples.
    """

    accuracy: float
    standard_error: float
    examples: int

    @property
    def standard_errors(self) -> float:
        """The signed difference, in units of its standard error."""
        return self.accuracy / self.standard_error

    @property
    def is_better(self) -> bool:
        """Whether the first network is better by more than chance."""
        return self.accuracy > 0 and self.is_difference(self.accuracy)

    @property
    def is_worse(self) -> bool:
        """Whether the first network is worse by more than chance."""
        return self.accuracy < 0 and self.is_difference(self.accuracy)

    def is_difference(self, accuracy: float) -> bool:
        """Returns whether a difference of accuracies is large compared with the standard error."""
        return abs(accuracy) >= _IS_DIFFERENT * self.standard_error


def difference(right: np.ndarray, other_right: np.ndarray) -> Difference:
    """Compares two networks on the same examples.

    If only the first network is right on b of n examples, and only the second on c of them,

        difference = (b − c) / n,   standard error² = (b' + c' − (b' − c')² / n') / n²,

    where b' = b + 1, c' = c + 1 and n' = n + 2, so that the standard error is not 0 if both always
    agree. It is smaller than for two independent samples, because the examples are paired (McNemar
    1947).

    Args:
        right: Whether the first network is right on each example, bool (n,).
        other_right: Whether the second network is, bool (n,).
    """
    number = len(right)
    alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    apart = alone - other_alone
    variance = alone + other_alone + 2 - apart**2 / (number + 2)
    return Difference(
        accuracy=apart / number, standard_error=math.sqrt(variance) / number, examples=number
    )
