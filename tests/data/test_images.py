from __future__ import annotations

import numpy as np
from PIL import Image

from l2rw_tf.data.images import as_array, scaled


def test_colours_become_grey_by_luminance():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    grey = as_array(Image.fromarray(pixels), channels=1, image_size=None)
    assert grey.shape == (4, 5, 1)
    # ITU-R 601: 0.299 red + 0.587 green + 0.114 blue.
    np.testing.assert_allclose(grey[..., 0], pixels @ [0.299, 0.587, 0.114], atol=1)


def test_sixteen_bits_become_eight():
    pixels = np.array([[0, 255, 256, 65535]], np.uint16)
    np.testing.assert_array_equal(
        as_array(Image.fromarray(pixels), 1, None)[..., 0], [[0, 0, 1, 255]]
    )


def test_transparency_is_laid_on_white():
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    array = as_array(Image.fromarray(pixels, "RGBA"), 3, None)
    np.testing.assert_array_equal(array, [[[10, 20, 30], [255, 255, 255]]])


def test_scaling_to_a_half_averages():
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    half = scaled(pixels, 8)
    assert half.shape == (8, 8, 3)
    # A triangle of width 2 by Pillow: near the mean of the four pixels, not one of them.
    smooth = np.full((16, 16, 1), 100, np.uint8)
    assert (scaled(smooth, 5) == 100).all()
    assert abs(half.mean() - pixels.mean()) < 2
    np.testing.assert_array_equal(scaled(pixels, 16), pixels)
