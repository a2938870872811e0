"""The data of a run: read, split, corrupted and ready to be batched."""

from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.data import (
    corrections,
    corruption,
    duplicates,
    measuring,
    sources,
    splits,
    trusted,
)
from l2rw_tf.data.corrections import Applied, Correction
from l2rw_tf.data.duplicates import Duplicates
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.data.origins import with_contents
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.data.settings import AS_GIVEN, TRUE, TRUSTED, DataSettings
from l2rw_tf.errors import DataUnavailable, UsageError


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """The data that all trainings of a run use.

    Attributes:
        source: The data set that was actually read.
        splits: Training, clean, validation and test examples; class imbalance and label noise are
            applied to training and validation.
        preprocessing: Standardization by the training inputs.
        unavailable: Why the data set of the settings was not read; None if it was.
        clean_is_right: Whether the labels of the clean examples are known to be right.
        test_labels: What the labels of the test examples are; see `measuring`.
        measured_on: A sentence on what accuracy is measured on.
        corrections: All corrections of the source's labels.
        corrected: Number of corrected examples by decision; empty without corrections.
        duplicates: Images in several classes, or in parts that should share none.
    """

    source: Source
    splits: splits.Splits
    preprocessing: Preprocessing
    unavailable: str | None
    clean_is_right: bool = True
    test_labels: str = TRUE
    measured_on: str = ""
    corrections: tuple[Correction, ...] = ()
    corrected: dict[str, int] = dataclasses.field(default_factory=dict)
    duplicates: Duplicates = Duplicates()

    @property
    def wrong_label_share(self) -> float | None:
        """The fraction of training labels that are wrong, or None if unknown."""
        train = self.splits.train
        return None if train.true_y is None else float(np.mean(train.y != train.true_y))

    @property
    def wrong_in_source(self) -> float | None:
        """The fraction of the source's own training labels that are wrong, or None if unknown."""
        train = self.source.train
        return None if train.true_y is None else float(np.mean(train.y != train.true_y))

    @property
    def training_class_counts(self) -> list[int]:
        """How many training examples each class has, by the labels given."""
        counts = np.bincount(self.splits.train.y, minlength=self.source.num_classes)
        return counts.tolist()


def prepare(settings: DataSettings, seed: int) -> PreparedData:
    """Reads the data set or its fallback, splits it, and applies class imbalance and label noise.

    Args:
        settings: The data set, splits, imbalance and noise.
        seed: Seed of splits, imbalance and noise.

    Raises:
        DataUnavailable: If the data set is not available and there is no fallback.
        UsageError: If the data or the settings cannot be used.
    """
    if settings.noise_type != "none" and settings.noise_ratio is None:
        # Not checked in the settings, as a sweep of noise_ratio sets it later.
        raise UsageError(
            f"noise_type={settings.noise_type} needs a noise_ratio: the fraction of labels that "
            "it makes wrong, above 0 and at most 1 (0: none, to compare with)."
        )
    source, unavailable = _load(settings)
    rows = corrections.read(settings.corrections) if settings.corrections else []
    reviewed = _reviewed(rows, source, settings) if settings.corrections else None
    test_labels, held_out, copies = TRUE, None, 0
    if not measuring.test_is_right(source, settings):
        test_labels = AS_GIVEN
        # Held out before corrections are applied: reviewed suspects are harder than others.
        fraction, looked_at = settings.trusted_test_fraction, {row.origin for row in rows}
        source, held_out = measuring.hold_out(source, fraction, looked_at)
        if held_out is not None and source.test is None:
            test_labels, source = TRUSTED, dataclasses.replace(source, test=held_out)
    given = source.trusted
    if reviewed is not None and not _clean_is_right(source, settings) and len(reviewed.trusted):
        # Only these are known to be right.
        source = dataclasses.replace(source, trusted=reviewed.trusted.in_memory())
        reviewed = dataclasses.replace(reviewed, trusted=reviewed.trusted.take([]))
    parts = splits.split(source, settings, seed)
    # Content hashes are computed once, as large images are read from disk for them.
    parts = dataclasses.replace(
        parts,
        train=with_contents(parts.train),
        clean=with_contents(parts.clean),
        validation=with_contents(parts.validation),
        test=with_contents(parts.test),
    )
    twice = _duplicates(parts, source, settings)
    parts = dataclasses.replace(
        parts,
        train=_corrupt(parts.train, "train", source, settings, seed),
        clean=_corrupt_clean(parts.clean, source, settings, seed),
        validation=_corrupt(parts.validation, "validation", source, settings, seed),
    )
    if reviewed is not None:
        parts = _with_reviewed(parts, reviewed, source, settings)
    if held_out is not None:
        parts, copies = measuring.without_copies(parts, held_out)
    return PreparedData(
        source=_with_notes(source, parts),
        splits=parts,
        preprocessing=Preprocessing.fit(parts.train, source.kind),
        unavailable=unavailable,
        corrections=tuple(rows),
        corrected=reviewed.counts if reviewed is not None else {},
        clean_is_right=_clean_is_right(source, settings),
        test_labels=test_labels,
        measured_on=measuring.in_words(
            given, parts, test_labels, copies, settings.trusted_test_fraction
        ),
        duplicates=twice,
    )


def _with_notes(source: Source, parts: splits.Splits) -> Source:
    """Returns the source with notes on classes without examples in a part."""
    notes = []
    counts = np.bincount(source.train.y, minlength=source.num_classes)
    for name, part in (("training", parts.train), ("test", parts.test)):
        # Some data sets name classes that have no examples (EMNIST's letters).
        missing = np.setdiff1d(source.train.y, part.y)
        if len(missing):
            names = [f"{source.class_names[one]} ({counts[one]:,} in all)" for one in missing[:20]]
            more = ", ..." if len(missing) > 20 else ""
            notes.append(f"there are no {name} examples of {', '.join(names)}{more}")
    return dataclasses.replace(source, notes=(*source.notes, *notes))


def _duplicates(parts: splits.Splits, source: Source, settings: DataSettings) -> Duplicates:
    """Finds duplicate images; not in tables, whose rows are often equal."""
    if source.kind != "image":
        return Duplicates()
    of_part = {"training": parts.train, "validation": parts.validation, "test": parts.test}
    if not settings.clean_in_train:
        of_part["clean"] = parts.clean
    return duplicates.find(of_part, source.class_names)


def _clean_is_right(source: Source, settings: DataSettings) -> bool:
    """Returns whether clean labels are right: all labels are, or trusted examples were given."""
    return source.trusted is not None or measuring.truth_is_known(source, settings)


def _reviewed(rows: list[Correction], source: Source, settings: DataSettings) -> Applied:
    """Applies the corrections to the training data of the source."""
    return corrections.applied(
        source.train,
        rows,
        class_names=source.class_names,
        given_are_own=settings.noise_type == "none",
        source=f"corrections={settings.corrections}",
        listed=source.trusted if source.trusted_origins else None,
        trusted_origins=() if source.trusted is None else source.trusted.origins.tolist(),
    )


def _with_reviewed(
    parts: splits.Splits, reviewed: Applied, source: Source, settings: DataSettings
) -> splits.Splits:
    """Removes reviewed examples from all parts; the trusted ones become clean.

    This comes after the split and the noise, so that both are those of the reviewed run and
    accuracies before and after are measured on the same test data.
    """

    def rest(part: Examples) -> Examples:
        left = np.isin(part.ids, reviewed.examples.ids)
        return part if left.all() else part.take(np.flatnonzero(left))

    train = rest(parts.train)
    # Trusted examples outside the training part have their own ids.
    clean = parts.clean if source.trusted is not None else rest(parts.clean)
    clean = _joined(clean, reviewed.trusted)
    if settings.clean_in_train:
        train = _joined(train, reviewed.trusted)
    if not len(train):
        raise UsageError(
            f"corrections={settings.corrections} decides on all {len(parts.train)} training "
            "examples: none are left to train on."
        )
    return splits.Splits(
        train=train,
        clean=clean.in_memory(),
        validation=rest(parts.validation),
        test=parts.test if source.test is not None else rest(parts.test),
    )


def _joined(one: Examples, other: Examples) -> Examples:
    """Returns both, sorted by id."""
    both = one.followed_by(other)
    return both.take(np.argsort(both.ids, kind="stable"))


def _load(settings: DataSettings) -> tuple[Source, str | None]:
    """Returns the source and, if it is the fallback, why."""
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
        true_label_column=settings.true_label_column,
        ignore_columns=settings.ignore_columns,
        bad_files=settings.bad_files,
        image_size=settings.image_size,
    )
    source = trusted.add(source, settings)
    return sources.select_classes(source, settings.classes) if settings.classes else source


def _corrupt(
    examples: Examples, part: corruption.Part, source: Source, settings: DataSettings, seed: int
) -> Examples:
    """Applies class imbalance, then label noise."""
    try:
        if part == "train" or len(examples):
            examples = corruption.imbalance(examples, settings, source.num_classes, seed, part)
    except UsageError as error:
        if part == "train":
            raise
        raise UsageError(f"held-out examples (validation_fraction): {error}") from error
    return corruption.corrupt(examples, settings, source.num_classes, seed, part)


def _corrupt_clean(clean: Examples, source: Source, settings: DataSettings, seed: int) -> Examples:
    """Applies the label noise of `clean_noise_ratio` to clean examples."""
    if not settings.clean_noise_ratio:
        return clean
    uniform = dataclasses.replace(
        settings, noise_type="uniform", noise_ratio=settings.clean_noise_ratio, flip_may_keep=False
    )
    return corruption.corrupt(clean, uniform, source.num_classes, seed, "clean")
