"""Labelled examples in memory, and the data sets that they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from l2rw_tf.data.storage import StoredImages


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled examples.

    Attributes:
        x: Inputs: uint8 images (n, height, width, channels) or float32 rows (n, features). Images
            that do not fit in memory are a `StoredImages`, which is indexed like an array.
        y: Labels as given to training, (n,) int64; they may be wrong.
        true_y: True labels, (n,) int64, for evaluation only; None if unknown.
        ids: (n,) int64, the examples' positions in the training (or test) data of their source.
        origins: (n,) str, where each comes from, relative to the data set: `./train/cat/001.jpg`,
            `./table.csv:17` (the line as an editor counts it), `index 17`; None if unknown.
        contents: (n,) str, the result of `origins.content_hash`; None until it is computed.
    """

    x: np.ndarray | StoredImages
    y: np.ndarray
    true_y: np.ndarray | None
    ids: np.ndarray
    origins: np.ndarray | None = None
    contents: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Checks that the arrays have the same length."""
        for name in ("x", "true_y", "ids", "origins", "contents"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.y):
                raise ValueError(f"{name} has {len(values)} entries, but there are {len(self.y)} y")

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.y)

    def take(self, indices: np.ndarray) -> Examples:
        """Returns the examples at the given positions, in their order.

        Args:
            indices: Positions (m,) int64 into these examples.
        """
        indices = np.asarray(indices, np.int64)
        return Examples(
            x=self.x.take(indices) if isinstance(self.x, StoredImages) else self.x[indices],
            y=self.y[indices],
            true_y=None if self.true_y is None else self.true_y[indices],
            ids=self.ids[indices],
            origins=None if self.origins is None else self.origins[indices],
            contents=None if self.contents is None else self.contents[indices],
        )

    def followed_by(self, other: Examples) -> Examples:
        """Concatenates examples, with inputs in memory; drops arrays that one of them lacks.

        Args:
            other: Examples with the same kind of inputs. If only one of the two has true labels,
                the given labels of the other count as true.
        """

        def both(name: str) -> np.ndarray | None:
            one, two = getattr(self, name), getattr(other, name)
            return None if one is None or two is None else np.concatenate([one, two])

        known = [part.y if part.true_y is None else part.true_y for part in (self, other)]
        is_known = self.true_y is not None or other.true_y is not None
        parts = {name: both(name) for name in ("x", "y", "ids", "origins", "contents")}
        return Examples(**parts, true_y=np.concatenate(known) if is_known else None)

    def in_memory(self) -> Examples:
        """Returns the same examples with the inputs in memory."""
        return dataclasses.replace(self, x=np.asarray(self.x))

    def with_true_labels(self) -> Examples:
        """Returns the same examples with their true labels as given labels, if known."""
        return self if self.true_y is None else dataclasses.replace(self, y=self.true_y)

    def with_labels(self, y: np.ndarray) -> Examples:
        """Returns the same examples with other given labels, and keeps the true labels.

        Args:
            y: The new given labels (n,).
        """
        true_y = self.y if self.true_y is None else self.true_y
        return dataclasses.replace(self, y=np.asarray(y, np.int64), true_y=true_y)


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled data set as it was read, before any split or corruption.

    Attributes:
        name: The data set that was actually read.
        train: Its training part.
        test: Its test part, or None.
        class_names: A name for each class, in the order of the labels.
        kind: `"image"` or `"table"`.
        feature_names: A name for each feature of a table; empty for images.
        trusted: Trusted examples, not in the training part; None if none were given.
        trusted_origins: Origins of trusted examples that were listed in and removed from `train`.
        notes: Sentences for the user about reading the data.
        left_out: The files that could not be read and were left out, with the reasons.
    """

    name: str
    train: Examples
    test: Examples | None
    class_names: tuple[str, ...]
    kind: Literal["image", "table"]
    feature_names: tuple[str, ...] = ()
    trusted: Examples | None = None
    trusted_origins: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (height, width, channels) or (features,)."""
        return tuple(self.train.x.shape[1:])


def examples_from(
    x: np.ndarray | StoredImages,
    y: np.ndarray,
    *,
    true_y: np.ndarray | None = None,
    origins: Sequence[str] | None = None,
) -> Examples:
    """Returns examples numbered from 0.

    Args:
        x: Inputs (n, ...).
        y: Labels (n,) of an integer type.
        true_y: True labels (n,), if known.
        origins: Where each comes from; by default its index.
    """
    if origins is None:
        origins = [f"index {index}" for index in range(len(y))]
    return Examples(
        x=x,
        y=np.asarray(y, np.int64),
        true_y=None if true_y is None else np.asarray(true_y, np.int64),
        ids=np.arange(len(y), dtype=np.int64),
        origins=np.array(origins, np.str_),
    )
