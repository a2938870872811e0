"""The data of a run: read, split, corrupted and ready to be batched."""

from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.data import corruption, sources, splits
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.errors import DataUnavailable, UsageError
from l2rw_tf.runs.config import RunConfig


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """What every training of a run works on.

    Attributes:
        source: The data set really read.
        splits: Training, clean, validation and test examples; the first and the third are uneven
            and their labels corrupted as asked for.
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


def prepare(config: RunConfig) -> PreparedData:
    """Reads the data set or the fallback, splits it and makes it uneven and wrong by the seed.

    Raises:
        DataUnavailable: If the data set is not to be had and there is no fallback.
        UsageError: If the data, or what is asked of it, cannot be used.
    """
    source, unavailable = _load(config)
    parts = splits.split(
        source,
        **config.clean_counts,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
        clean_in_train=config.clean_in_train,
        balanced_clean=config.balanced_clean,
    )
    parts = dataclasses.replace(
        parts,
        train=_spoil(parts.train, "train", source, config),
        validation=_spoil(parts.validation, "validation", source, config),
    )
    return PreparedData(
        source=source,
        splits=parts,
        preprocessing=Preprocessing.fit(parts.train, source.kind),
        unavailable=unavailable,
    )


def _load(config: RunConfig) -> tuple[Source, str | None]:
    """Returns the source, and why it is the fallback where it is."""
    try:
        return _source(config.dataset, config), None
    except DataUnavailable as error:
        if not config.fallback_dataset:
            raise
        return _source(config.fallback_dataset, config), str(error)


def _source(dataset: str, config: RunConfig) -> Source:
    source = sources.load(
        dataset,
        data_dir=config.data_dir or None,
        label_column=config.label_column,
        image_size=config.image_size,
    )
    return sources.select_classes(source, config.classes) if config.classes else source


def _spoil(
    examples: Examples, part: corruption.Part, source: Source, config: RunConfig
) -> Examples:
    """Leaves examples out and makes labels wrong, in this order, as asked for."""
    if part == "train" or len(examples):
        examples = _make_uneven(examples, part, source, config)
    return corruption.corrupt(
        examples,
        noise_type=config.noise_type,
        noise_ratio=config.noise_ratio,
        num_classes=source.num_classes,
        seed=config.seed,
        background_class=config.background_class,
        flip_may_keep=config.flip_may_keep,
        part=part,
    )


def _make_uneven(
    examples: Examples, part: corruption.Part, source: Source, config: RunConfig
) -> Examples:
    """Makes the classes as uneven as asked for; validation examples stay as many as they can."""
    try:
        return corruption.imbalance(
            examples,
            imbalance_type=config.imbalance_type,
            num_classes=source.num_classes,
            seed=config.seed,
            imbalance_ratio=config.imbalance_ratio,
            num_examples=config.num_examples if part == "train" else None,
            dominating_class=config.dominating_class,
            part=part,
        )
    except UsageError as error:
        if part == "train":
            raise
        raise UsageError(f"held-out examples (validation_fraction): {error}") from error
