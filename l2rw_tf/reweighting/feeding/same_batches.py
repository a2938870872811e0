"""Base class of data adapters that change the contents of batches, not their number or sizes."""

from __future__ import annotations

from l2rw_tf.reweighting.keras_internals import DataAdapter


class SameBatches(DataAdapter):
    """A data adapter with the batch count and batch sizes of another adapter."""

    def __init__(self, source: DataAdapter) -> None:
        """Wraps an adapter."""
        self._source = source

    @property
    def num_batches(self) -> int | None:
        """Batches per epoch, or None if unknown."""
        return self._source.num_batches

    @property
    def batch_size(self) -> int | None:
        """Examples per batch, or None if unknown."""
        return self._source.batch_size

    @property
    def has_partial_batch(self) -> bool | None:
        """Whether the last batch is smaller, or None if unknown."""
        return self._source.has_partial_batch

    @property
    def partial_batch_size(self) -> int | None:
        """Size of the last batch, or None if unknown."""
        return self._source.partial_batch_size
