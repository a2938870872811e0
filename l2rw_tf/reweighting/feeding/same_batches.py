"""An adapter of data that changes what is in the batches of another, not how many there are."""

from __future__ import annotations

from l2rw_tf.reweighting.keras_internals import DataAdapter


class SameBatches(DataAdapter):
    """Number and sizes of the batches are those of another of Keras's adapters."""

    def __init__(self, source: DataAdapter) -> None:
        """Takes over the sizes of an adapter."""
        self._source = source

    @property
    def num_batches(self) -> int | None:
        """Batches per epoch, where known."""
        return self._source.num_batches

    @property
    def batch_size(self) -> int | None:
        """Examples in a batch, where known."""
        return self._source.batch_size

    @property
    def has_partial_batch(self) -> bool | None:
        """Whether the last batch is smaller, where known."""
        return self._source.has_partial_batch

    @property
    def partial_batch_size(self) -> int | None:
        """Size of the last batch, where known."""
        return self._source.partial_batch_size
