"""Converts images of any size and mode to arrays of one shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    import PIL.Image


def as_array(
    image: PIL.Image.Image, channels: int, image_size: int | tuple[int, int] | None
) -> np.ndarray:
    """Returns an image as an array, upright, and scaled if a size is given.

    Args:
        image: Any image that Pillow opens; transparent areas become white, and 16-bit pixels keep
            their upper 8 bits.
        channels: 1 for grey, 3 for red, green and blue.
        image_size: Height and width to scale to (the proportions may change), one number if they
            are equal; or None.

    Returns:
        uint8 (height, width, channels).

    Raises:
        ValueError: If the image has 32-bit or floating-point pixels, whose range is unknown.
    """
    from PIL import Image, ImageOps

    # Earlier versions of Pillow open a 16-bit PNG file in mode I.
    of_16_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if image.mode in ("I", "F") and not of_16_bits:
        kind = "of 32 bits" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, of no known range (8 and 16 bits have one)")
    image = ImageOps.exif_transpose(image)
    if of_16_bits:
        image = Image.fromarray((np.asarray(image, np.int64) >> 8).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image_size is not None:
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)


def scaled(image: np.ndarray, image_size: int) -> np.ndarray:
    """Returns an image array scaled to a size.

    Args:
        image: uint8 (height, width, 1 or 3).
        image_size: Height and width to scale to.

    Returns:
        uint8 (image_size, image_size, 1 or 3).
    """
    from PIL import Image

    channels = image.shape[-1]
    pixels = Image.fromarray(image[..., 0] if channels == 1 else image)
    return as_array(pixels, channels, image_size)


def sizes_differ(what: str, first: tuple[int, int], other: tuple[int, int]) -> UsageError:
    """Returns the error for images of several sizes.

    Args:
        what: Names the images, for the message.
        first: (height, width) of one.
        other: (height, width) of another.
    """
    return UsageError(
        f"{what} differ in size (height x width {first[0]}x{first[1]} and {other[0]}x{other[1]}): "
        "give image_size, for example 32, to scale all images to it."
    )
