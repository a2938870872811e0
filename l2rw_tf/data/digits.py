"""Scikit-learn's handwritten digits as a TFDS data set: real data without a download."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 images of handwritten digits, 8x8x1; every fifth, 360 in all, is for testing.

    The images come with scikit-learn (`sklearn.datasets.load_digits`; the test part of the UCI data
    set "Optical Recognition of Handwritten Digits", Alpaydin and Kaynak 1998), with grey values
    from 0 to 16, brought here to 0 to 255.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The digits of scikit-learn."}

    def _info(self) -> tfds.core.DatasetInfo:
        """Returns the features: a grey image and a label."""
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        """Returns the two splits; nothing is downloaded."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
        test = np.arange(len(images)) % 5 == 0
        return {
            "train": _pairs(images[~test], digits.target[~test]),
            "test": _pairs(images[test], digits.target[test]),
        }

    def _generate_examples(self, pairs: Any) -> Iterator[tuple[int, dict]]:
        """Yields the pairs (unused: the splits are generators already)."""
        yield from pairs


def _pairs(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    for key, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield key, {"image": image, "label": int(label)}
