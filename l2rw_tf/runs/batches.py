"""Batches of a training: a pure function of seed and step, so that a training can be resumed."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from l2rw_tf.data import pipeline
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.data.storage import StoredImages
from l2rw_tf.errors import UsageError
from l2rw_tf.methods.method import Method
from l2rw_tf.reweighting.feeding.batches import EXAMPLES, IDS

# Clean batches draw from their own random stream, separate from that of the training batches.
_CLEAN_SEED_OFFSET = 2**32


@dataclasses.dataclass(frozen=True)
class Batches:
    """Makes the batches of a run.

    Attributes:
        data: The examples, split and preprocessed.
        seed: Determines the order of the examples and their augmentation.
        batch_size: Training examples per step.
        clean_batch_size: Clean examples per step; None means `batch_size`.
        augment: "none", "crop" or "crop_flip".
    """

    data: PreparedData
    seed: int
    batch_size: int
    clean_batch_size: int | None
    augment: pipeline.Augmentation

    def training(self, method: Method, start_step: int) -> tf.data.Dataset:
        """Returns the training batches for `fit`.

        Args:
            method: The training method.
            start_step: The step of the first batch.

        Returns:
            (x, y); (x, y, sample_weight) if the method weights examples; (x, y, rows) if it marks
            them; or, if it records each example, a dictionary of (x, y) and their rows in that
            record.
        """
        if method.part == "clean":
            return self._clean(self.batch_size, start_step)
        batches = pipeline.training_batches(
            self._both() if method.part == "both" else self.data.splits.train,
            self.data.preprocessing,
            batch_size=self.batch_size,
            seed=self.seed,
            start_step=start_step,
            augment=self.augment,
            with_rows=method.uses_clean_data or method.marks_rows,
            sampling=method.sampling,
        )
        if method.uses_clean_data:
            return batches.map(lambda x, y, rows: {EXAMPLES: (x, y), IDS: rows})
        if method.sample_weights is None:
            return batches
        weigh = method.sample_weights(self.seed, self.data)
        numbered = batches.enumerate(start_step)
        return numbered.map(lambda step, batch: (*batch, weigh(step, batch[1])))

    def clean(self, start_step: int) -> tf.data.Dataset:
        """Returns the clean batches, one for each training batch."""
        return self._clean(self.clean_batch_size or self.batch_size, start_step)

    def evaluation(self, examples: Examples) -> tf.data.Dataset:
        """Returns batches of all examples, once and in order."""
        size = max(self.batch_size, pipeline.evaluation_batch_size(examples.x.shape[1:]))
        return pipeline.evaluation_batches(examples, self.data.preprocessing, batch_size=size)

    def _both(self) -> Examples:
        train, clean = self.data.splits.train, self.data.splits.clean
        if isinstance(train.x, StoredImages):
            raise UsageError(
                "a method that also trains on the clean examples needs images that fit in memory: "
                "lower image_size."
            )
        return train.followed_by(clean)

    def _clean(self, batch_size: int, start_step: int) -> tf.data.Dataset:
        clean = self.data.splits.clean
        sizes = np.bincount(clean.y)
        # Trusted examples may be imbalanced; clean batches are balanced by class all the same.
        imbalanced = self.data.source.trusted is not None and len(set(sizes[sizes > 0])) > 1
        return pipeline.training_batches(
            clean,
            self.data.preprocessing,
            batch_size=min(batch_size, len(clean)),
            seed=self.seed + _CLEAN_SEED_OFFSET,
            start_step=start_step,
            augment=self.augment,
            sampling="balanced" if imbalanced else "shuffled",
        )


def augmentation(asked: str, source: Source) -> pipeline.Augmentation:
    """Returns the augmentation to apply, with "auto" resolved from the kind of data.

    Raises:
        UsageError: If image augmentation is asked for on a table.
    """
    if source.kind == "table" and asked not in ("auto", "none"):
        raise UsageError(f"augment={asked} is for images: for a table it must be none.")
    if asked != "auto":
        return asked
    colour = source.kind == "image" and source.input_shape[-1] == 3
    return "crop_flip" if colour else "none"
