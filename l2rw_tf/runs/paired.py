"""Two networks on the same examples: which one is right more often, and whether that is chance."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

# `--help` reads this file, and is to answer at once.
if TYPE_CHECKING:
    import numpy as np

# From so many standard errors on, a difference is called one: by chance alone, one in twenty is.
_IS_DIFFERENT = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better one network is than another one on the same examples.

    Attributes:
        accuracy: The difference of their accuracies.
        standard_error: Of that difference, by the choice of the examples; that of the seeds is not
            in it.
        examples: How many there are.
    """

    accuracy: float
    standard_error: float
    examples: int

    @property
    def standard_errors(self) -> float:
        """The difference in standard errors, with its sign."""
        return self.accuracy / self.standard_error

    def is_difference(self, accuracy: float) -> bool:
        """Whether a difference of accuracies is large beside the standard error."""
        return abs(accuracy) >= _IS_DIFFERENT * self.standard_error


def difference(right: np.ndarray, other_right: np.ndarray) -> Difference:
    """Compares two networks on the same examples.

    With b of n examples that the one alone has right, and c that the other one alone has,

        difference = (b − c) / n,   standard error² = (b' + c' − (b' − c')² / n') / n²,

    where b' = b + 1, c' = c + 1 and n' = n + 2, so that it is not 0 if both agree everywhere. The
    pairs are what makes it smaller than that of two samples (McNemar 1947).

    Args:
        right: Whether the one is right, shape (n,), of booleans.
        other_right: Whether the other one is, likewise.
    """
    number = len(right)
    alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    apart = alone - other_alone
    variance = alone + other_alone + 2 - apart**2 / (number + 2)
    return Difference(
        accuracy=apart / number, standard_error=math.sqrt(variance) / number, examples=number
    )
