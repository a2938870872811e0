from __future__ import annotations

import dataclasses

import numpy as np

from l2rw_tf.runs.batches import augmentation


def test_images_are_augmented_by_their_colour(blobs):
    assert augmentation("auto", blobs) == "none"
    for channels, expected in ((1, "none"), (3, "crop_flip")):
        images = dataclasses.replace(
            blobs.train, x=np.zeros((len(blobs.train), 8, 8, channels), np.uint8)
        )
        source = dataclasses.replace(blobs, kind="image", train=images)
        assert augmentation("auto", source) == expected
        assert augmentation("crop", source) == "crop"
