"""Standardization by the figures of the training set."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import tensorflow as tf

from l2rw_tf.data.examples import Examples
from l2rw_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Standardizes inputs: (x - mean) / standard deviation.

    Attributes:
        mean: float32, (channels,) for images, (features,) for tables.
        standard_deviation: float32, of the same shape; 1 where the training set does not vary.
    """

    mean: np.ndarray
    standard_deviation: np.ndarray

    @classmethod
    def fit(cls, train: Examples, kind: Literal["image", "table"]) -> Preprocessing:
        """Takes the figures from the training set.

        Args:
            train: Images (n, height, width, channels) uint8, or rows (n, features) float32.
            kind: `"image"`: one figure a channel; `"table"`: one a feature.

        Raises:
            UsageError: The training set is empty.
        """
        if not len(train):
            raise UsageError("the training set is empty, so its inputs cannot be standardized.")
        if kind == "image":
            # A histogram is exact and needs no copy of the images as floats.
            values = np.arange(256.0)
            counts = np.stack(
                [
                    np.bincount(train.x[..., channel].ravel(), minlength=256)
                    for channel in range(train.x.shape[-1])
                ]
            )
            share = counts / counts.sum(axis=1, keepdims=True)
            mean = share @ values
            deviation = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
        else:
            mean = train.x.mean(axis=0, dtype=np.float64)
            deviation = train.x.std(axis=0, dtype=np.float64)
        # Rounding leaves a constant column of large numbers with a tiny deviation, not with 0.
        constant = deviation <= 1e-7 * np.abs(mean)
        deviation = np.where(constant, 1.0, deviation)
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns standardized inputs.

        Args:
            x: A batch of inputs, of any numeric dtype; TensorFlow or NumPy.

        Returns:
            float32, of the same shape.
        """
        return (tf.cast(x, tf.float32) - self.mean) * (1 / self.standard_deviation)
