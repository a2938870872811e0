"""Finds the features that are labels in a data set of TensorFlow Datasets, and their classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l2rw_tf.data import labels
from l2rw_tf.data.examples import Examples, Source
from l2rw_tf.errors import UsageError


def features(name: str, builder: Any, label_column: str, true_label_column: str) -> list[str]:
    """Returns the names of the features that hold the image, its label and, if named, its true one.

    Raises:
        UsageError: If there are none, or it is not clear which.
    """
    import tensorflow_datasets as tfds

    there = builder.info.features
    by_key = there if isinstance(there, tfds.features.FeaturesDict) else {}
    images_there, labels_there = (
        [key for key, feature in by_key.items() if isinstance(feature, kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    )
    # These may be labels, but TFDS does not say so.
    numbers_there = [
        key
        for key, feature in by_key.items()
        if isinstance(feature, tfds.features.Tensor)
        and feature.shape == ()
        and np.issubdtype(feature.np_dtype, np.integer)
        and key not in labels_there
    ]
    keys = [key for key in builder.info.supervised_keys or () if isinstance(key, str)]
    image = next((key for key in (*keys, "image", *images_there) if key in images_there), "")
    if not image or not labels_there + numbers_there:
        raise UsageError(
            f"dataset {name!r} of TensorFlow Datasets is not for image classification: an image "
            f"and a class label are needed, it has {', '.join(there)}."
        )
    possible = [*labels_there, *numbers_there]
    for flag, column in (("label_column", label_column), ("true_label_column", true_label_column)):
        if column and column not in possible:
            raise UsageError(
                f"{flag}={column}: dataset {name!r} has no such feature of class labels or whole "
                f"numbers; there {'is' if len(possible) == 1 else 'are'} {', '.join(possible)}."
            )
    if not label_column and not labels_there:
        raise UsageError(
            f"dataset {name!r} has no feature of class labels: if its labels are whole numbers, "
            f"set label_column to one of {', '.join(numbers_there)}."
        )
    label = label_column or _usual(name, by_key, keys, labels_there)
    if not true_label_column:
        return [image, label]
    if true_label_column == label:
        raise UsageError(f"label_column and true_label_column both name the feature {label!r}.")
    both_named = {label, true_label_column} <= set(labels_there)
    if both_named and there[true_label_column].names != there[label].names:
        raise UsageError(
            f"true_label_column={true_label_column}: its classes are not those of {label!r} in "
            f"dataset {name!r}."
        )
    return [image, label, true_label_column]


def _usual(
    name: str, by_key: Mapping[str, Any], keys: Sequence[str], labels_there: Sequence[str]
) -> str:
    """Returns the feature of the labels if none is named; there must be no doubt."""
    # Labels of other classes (CIFAR-100's coarse ones) belong to another task.
    usual = next((key for key in keys if key in labels_there), "")
    alike = [key for key in labels_there if usual and by_key[key].names == by_key[usual].names]
    if len(labels_there) > 1 and alike != [usual]:
        raise UsageError(
            f"dataset {name!r} has {len(labels_there)} features with labels, "
            f"{', '.join(labels_there)}: choose one with label_column (and the one with the true "
            "labels, if there is one, with true_label_column)."
        )
    return usual or labels_there[0]


def with_classes(source: Source, builder: Any, labels_of: Sequence[str], few: bool) -> Source:
    """Adds the class names to a data set; whole numbers without names become classes.

    Args:
        source: The data set, with the values of the features as labels.
        builder: TFDS's builder of the data set.
        labels_of: The features that hold the labels and, if there are any, the true labels.
        few: Whether it is enough that some classes occur, with one example each.

    Raises:
        UsageError: If the numbers are not classes.
    """
    features_of = [builder.info.features[key] for key in labels_of]
    class_names = next((tuple(one.names) for one in features_of if hasattr(one, "names")), None)
    parts = [source.train] if source.test is None else [source.train, source.test]
    if class_names is None:
        class_names, parts = _numbered(parts, source.name, labels_of[0], few)
    _check_range(parts, class_names, source.name, labels_of)
    train, test = (*parts, None)[:2]
    return dataclasses.replace(source, train=train, test=test, class_names=class_names)


def _numbered(
    parts: Sequence[Examples], name: str, label: str, few: bool
) -> tuple[tuple[str, ...], list[Examples]]:
    """Numbers the classes of labels that are whole numbers without names."""
    columns = [y for one in parts for y in (one.y, one.true_y) if y is not None]
    values = np.concatenate(columns)
    if not few:
        labels.encode(values, f"dataset {name!r}: the feature {label!r}")
    numbers = np.unique(values)
    names = tuple(map(str, numbers.tolist()))
    return names, [
        dataclasses.replace(
            one,
            y=np.searchsorted(numbers, one.y),
            true_y=None if one.true_y is None else np.searchsorted(numbers, one.true_y),
        )
        for one in parts
    ]


def _check_range(
    parts: Sequence[Examples], class_names: Sequence[str], name: str, labels_of: Sequence[str]
) -> None:
    """Refuses whole numbers that are not labels of the named classes."""
    for examples in parts:
        for label, y in zip(labels_of, (examples.y, examples.true_y), strict=False):
            wrong = y[(y < 0) | (y >= len(class_names))]
            if len(wrong):
                raise UsageError(
                    f"dataset {name!r}: the feature {label!r} holds {wrong[0]}, but there are only "
                    f"the classes 0 to {len(class_names) - 1}."
                )
