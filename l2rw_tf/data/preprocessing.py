"""Standardization by the statistics of the training set, which also fill missing features."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.data.examples import Examples
from l2rw_tf.data.storage import StoredImages
from l2rw_tf.errors import UsageError

# Deviations from 2^-20 to 2^20 are not scaled: they exceed 1e-7, and their squares do not overflow.
_USUAL_EXPONENT = 20
_PIXELS_AT_ONCE = 2**20


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Standardizes inputs: (x - mean) / standard deviation.

    Attributes:
        mean: float32, (channels,) for images, (features,) for tables.
        standard_deviation: float32, of the same shape; 1 where the training set does not vary.
        fill: float32 (features,), the means that replace NaN; None for images.
    """

    mean: np.ndarray
    standard_deviation: np.ndarray
    fill: np.ndarray | None = None

    @classmethod
    def fit(cls, train: Examples, kind: Literal["image", "table"]) -> Preprocessing:
        """Computes the statistics of the training set.

        Args:
            train: Images (n, height, width, channels) uint8, or rows (n, features) float32.
            kind: `"image"`: statistics per channel; `"table"`: per feature.

        Raises:
            UsageError: If the training set is empty.
        """
        if not len(train):
            raise UsageError("the training set is empty, so its inputs cannot be standardized.")
        if kind == "image":
            values = np.arange(256.0)
            share = _histograms(train.x) / np.prod(train.x.shape[:-1], dtype=np.int64)
            mean = share @ values
            deviation = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
        else:
            known = train.x
            if np.isnan(known).any():
                known = np.ma.masked_invalid(known)
            mean = np.ma.filled(known.mean(axis=0, dtype=np.float64), 0)
            deviation = np.ma.filled(known.std(axis=0, dtype=np.float64), 0)
        # Rounding gives a constant column of large numbers a tiny deviation instead of 0, and
        # TensorFlow treats subnormal numbers as 0.
        constant = deviation <= np.maximum(1e-7 * np.abs(mean), np.finfo(np.float32).tiny)
        deviation = np.where(constant, 1.0, deviation)
        mean = mean.astype(np.float32)
        return cls(mean, deviation.astype(np.float32), fill=mean if kind == "table" else None)

    def left_out(self) -> Preprocessing:
        """Returns preprocessing that only casts inputs and fills missing features."""
        return dataclasses.replace(
            self,
            mean=np.zeros_like(self.mean),
            standard_deviation=np.ones_like(self.standard_deviation),
        )

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns standardized inputs.

        Args:
            x: A batch of inputs, of any numeric dtype; TensorFlow or NumPy.

        Returns:
            float32, of the same shape.
        """
        x = tf.cast(x, tf.float32)
        if self.fill is not None:
            x = tf.where(tf.math.is_nan(x), self.fill, x)
        return (x - self.mean) / self.standard_deviation

    def in_keras(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the same of a symbolic tensor, by operations and layers that plain Keras loads.

        Args:
            x: The inputs of a functional model.
        """
        if self.fill is not None:
            x = keras.ops.where(keras.ops.isnan(x), self.fill, x)
        for layer in self._layers():
            x = layer(x)
        return x

    def _layers(self) -> list[keras.Layer]:
        """Returns layers that standardize.

        Keras's Normalization takes the variance, whose root is exactly the deviation, but replaces
        deviations below 1e-7. So features with unusual deviations are first scaled by powers of 2,
        which is exact.
        """
        exponents = np.clip(-np.frexp(self.standard_deviation)[1], -126, 126)
        factors = np.ones_like(self.mean)
        layers = []
        if np.abs(exponents).max() > _USUAL_EXPONENT:
            factors = np.ldexp(factors, exponents)
            layers.append(keras.layers.Rescaling(factors.tolist(), dtype="float32"))
        mean, deviation = self.mean * factors, self.standard_deviation * factors
        normalization = keras.layers.Normalization(
            mean=mean.tolist(), variance=np.square(deviation).tolist(), dtype="float32"
        )
        return [*layers, normalization]


def _histograms(images: np.ndarray | StoredImages) -> np.ndarray:
    """Returns how often each grey value occurs in each channel, (channels, 256) int64.

    Statistics computed from it are exact, and it reads a few images at a time.
    """
    counts = np.zeros((images.shape[-1], 256), np.int64)
    # NumPy counts in a copy with eight bytes per value.
    block = max(1, _PIXELS_AT_ONCE // math.prod(images.shape[1:3]))
    for first in range(0, len(images), block):
        some = images[first : first + block]
        for channel in range(len(counts)):
            counts[channel] += np.bincount(some[..., channel].ravel(), minlength=256)
    return counts
