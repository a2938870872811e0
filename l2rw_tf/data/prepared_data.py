"""The data of a run: read, split, corrupted and ready to be batched."""

from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.data import corruption, sources, splits
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.settings import DataSettings
from l2rw_tf.errors import DataUnavailable, UsageError


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """What every training of a run works on.

    Attributes:
        source: The data set really read.
        splits: Training, clean, validation and test examples; the first and the third are as
            imbalanced and as corrupted as asked for.
        preprocessing: Standardization by the training inputs.
        unavailable: Why the data set that was asked for was not read, or None where it was.
    """

    source: Source
    splits: splits.Splits
    preprocessing: Preprocessing
    unavailable: str | None

    @property
    def wrong_label_share(self) -> float | None:
        """The share of training labels that are really wrong, or None where nobody knows."""
        train = self.splits.train
        return None if train.true_y is None else float(np.mean(train.y != train.true_y))

    @property
    def training_class_counts(self) -> list[int]:
        """How many training examples each class has, by the labels given."""
        counts = np.bincount(self.splits.train.y, minlength=self.source.num_classes)
        return counts.tolist()


def prepare(settings: DataSettings, seed: int) -> PreparedData:
    """Reads the data set or the fallback, splits it and makes it imbalanced and wrong by the seed.

    Args:
        settings: What to read, and what to make of it.
        seed: Decides splits, imbalance and noise.

    Raises:
        DataUnavailable: If the data set is not available and there is no fallback.
        UsageError: If the data, or what is asked of it, cannot be used.
    """
    source, unavailable = _load(settings)
    parts = splits.split(source, settings, seed)
    parts = dataclasses.replace(
        parts,
        train=_spoil(parts.train, "train", source, settings, seed),
        validation=_spoil(parts.validation, "validation", source, settings, seed),
    )
    return PreparedData(
        source=source,
        splits=parts,
        preprocessing=Preprocessing.fit(parts.train, source.kind),
        unavailable=unavailable,
    )


def _load(settings: DataSettings) -> tuple[Source, str | None]:
    try:
        return _source(settings.dataset, settings), None
    except DataUnavailable as error:
        if not settings.fallback_dataset:
            raise
        return _source(settings.fallback_dataset, settings), str(error)


def _source(dataset: str, settings: DataSettings) -> Source:
    source = sources.load(
        dataset,
        data_dir=settings.data_dir or None,
        label_column=settings.label_column,
        image_size=settings.image_size,
    )
    return sources.select_classes(source, settings.classes) if settings.classes else source


def _spoil(
    examples: Examples, part: corruption.Part, source: Source, settings: DataSettings, seed: int
) -> Examples:
    """Leaves examples out and makes labels wrong, in this order, as asked for."""
    try:
        if part == "train" or len(examples):
            examples = corruption.imbalance(examples, settings, source.num_classes, seed, part)
    except UsageError as error:
        if part == "train":
            raise
        raise UsageError(f"held-out examples (validation_fraction): {error}") from error
    return corruption.corrupt(examples, settings, source.num_classes, seed, part)
