"""Training steps whose graph knows the size of its batch, for data that does not say it.

A data set of `.batch(n)` may end with a smaller batch, so its specification leaves the batch size
open. A graph without it computes the gradient g(ε) at ε = 0 only to learn its shape, 8 to 27% of a
step (docs/performance.md). So the step is traced once for each size that occurs, as long as there
are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Whole and last batches, of training and of clean data.
_MOST_SIZES = 4

# Keras's training function: it takes an iterator and returns logs.
TrainFunction = Callable[[Any], Any]


class StepsBySize:
    """A training function of Keras that is traced with known batch sizes."""

    def __init__(self, make_function: Callable[[], TrainFunction]) -> None:
        """Begins without a trace.

        Args:
            make_function: Returns a training function that has not been traced.
        """
        self._make_function = make_function
        self._of_any_size = make_function()
        self._of_size: dict[tuple[int, ...], TrainFunction] = {}

    def __call__(self, iterator: Any) -> Any:
        """Takes one step on the next batch of an iterator and returns its logs."""
        if not _leaves_batch_size_open(iterator):
            return self._of_any_size(iterator)
        batch = next(iterator)
        sizes = tuple(leaf.shape[0] for leaf in keras.tree.flatten(batch))
        if sizes not in self._of_size and len(self._of_size) < _MOST_SIZES:
            self._of_size[sizes] = self._make_function()
        return self._of_size.get(sizes, self._of_any_size)(iter([batch]))


def _leaves_batch_size_open(iterator: Any) -> bool:
    """Returns whether batches lack a size, and examples are all of one shape."""
    if not isinstance(iterator, tf.data.Iterator):
        return False
    leaves = keras.tree.flatten(iterator.element_spec)
    if not all(isinstance(leaf, tf.TensorSpec) and leaf.shape.rank for leaf in leaves):
        return False
    of_examples = all(leaf.shape[1:].is_fully_defined() for leaf in leaves)
    return of_examples and not all(leaf.shape.is_fully_defined() for leaf in leaves)
