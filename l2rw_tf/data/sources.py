"""Data sets by name or by path."""

from __future__ import annotations

from l2rw_tf.data.examples import Source


def load(dataset: str, *, data_dir: str | None = None, label_column: str = "label") -> Source:
    """Reads a data set.

    Args:
        dataset: `"digits"` (needs no network), the name of an image classification data set of
            TensorFlow Datasets, a folder of images with a sub-folder for each class, or a .csv or
            .npz file of numbers with a label column.
        data_dir: Where prepared data of TensorFlow Datasets lies; by default its own place.
        label_column: The column (CSV) or array (npz) that holds the labels.

    Returns:
        The data set.

    Raises:
        UsageError: There is no such data set, or its files are broken.
        DataUnavailable: It is neither on this machine nor to be had from the network.
    """
    from l2rw_tf.data import tfds_images

    return tfds_images.load(dataset, data_dir)
