"""Image classification data sets of TensorFlow Datasets, prepared on demand."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pathlib
import re
import tempfile
import urllib.parse
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from l2rw_tf.command_line.settings import suggestion
from l2rw_tf.data import images, storage, tfds_labels
from l2rw_tf.data.examples import Examples, Source, examples_from
from l2rw_tf.errors import DataUnavailable, UsageError

# TFDS's default, ten tries with growing pauses, takes minutes if there is no network.
_TRIES_OF_DOWNLOAD = 2

# name, name/config, name:version, name/config:version
_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_.\-]+)?(:\d+\.\d+\.\d+)?")


def can_read(dataset: str) -> bool:
    """Returns whether a name can be that of a data set, not a path."""
    is_path = dataset.startswith((".", "~", os.sep)) or os.path.exists(dataset)
    return dataset == "digits" or not is_path


def read(
    dataset: str,
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
    label_column: str = "",
    true_label_column: str = "",
    only_split: str = "",
    **others: object,
) -> Source:
    """Reads a data set of TFDS, and prepares it first if necessary.

    Args:
        dataset: A name as `tfds.load` takes it (`"cifar10"`, `"emnist/letters"`), or `"digits"`.
        data_dir: Directory of prepared data; by default TFDS's own, `TFDS_DATA_DIR` or
            ~/tensorflow_datasets.
        image_size: Height and width that all images are scaled to; if None, all images must have
            the same size.
        label_column: The feature of the labels, class labels or whole numbers; if empty, the usual
            or only feature of class labels.
        true_label_column: The feature of the true labels, if there is one.
        only_split: The split to read as the training part, without a test part; if empty, `train`,
            with `test` or `validation` as the test part.
        **others: Ignored.

    Returns:
        The data set, with uint8 images.

    Raises:
        UsageError: If TFDS does not have the data set, it is not for image classification, several
            features hold labels and none is named, or the data in `data_dir` is damaged.
        DataUnavailable: If it is not prepared in `data_dir` and cannot be downloaded.
    """
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "\0" in place:
        raise UsageError(f"data_dir must be the name of a directory, got {place!r}.")
    directory = pathlib.Path(os.path.expanduser(place)).absolute()
    with _quiet():
        builder = _builder(dataset, directory)
        prepared = builder.is_prepared()
    features = tfds_labels.features(dataset, builder, label_column, true_label_column)
    if not prepared:
        if dataset == "digits" and not storage.can_write(directory):
            with tempfile.TemporaryDirectory(prefix="l2rw_digits_") as temporary:
                return read(
                    dataset, data_dir=temporary, image_size=image_size, only_split=only_split
                )
        _prepare(dataset, directory)
        with _quiet():
            builder = _builder(dataset, directory)
    try:
        with _quiet():
            return _read(dataset, builder, features, image_size, only_split)
    except tf.errors.OpError as error:
        raise UsageError(
            f"the data in {builder.data_path} cannot be read ({_first_line(error)}); remove that "
            "directory, so that it is prepared again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A scope that suppresses TFDS's output, log lines and warnings."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _builder(name: str, directory: pathlib.Path) -> Any:
    import tensorflow_datasets as tfds

    if name == "digits":
        from l2rw_tf.data.digits import Digits

        return Digits(data_dir=directory)
    try:
        if not _NAME.fullmatch(name):
            raise tfds.core.DatasetNotFoundError(name)
        return tfds.builder(name, data_dir=directory)
    except tfds.core.DatasetNotFoundError:
        known = ["digits", *tfds.list_builders(with_community_datasets=False)]
        meant = suggestion(re.split("[/:]", name)[0], known)
        raise UsageError(
            f"dataset {name!r} is not known{meant}: possible are digits, an image classification "
            "data set of TensorFlow Datasets (mnist, cifar10, ...), a folder of images, a .csv or "
            "a .npz file."
        ) from None
    except Exception as error:
        raise UsageError(
            f"dataset {name!r} in {directory} cannot be used: {_first_line(error)}."
        ) from error


def _prepare(name: str, directory: pathlib.Path) -> None:
    """Downloads and prepares a data set, completely or not at all.

    It is prepared in a temporary directory that is then renamed, so that several processes can
    prepare it at the same time: the result of the first one is kept.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    downloader.MAX_RETRIES = _TRIES_OF_DOWNLOAD
    if name != "digits":
        print(f"{name} is not in {directory}; downloading it.", flush=True)
    made = []
    try:
        made = _make_directory(directory)
        with tempfile.TemporaryDirectory(
            prefix=".incomplete.", dir=directory, ignore_cleanup_errors=True
        ) as temporary:
            downloads = pathlib.Path(temporary, "downloads")
            _link_downloads(directory / "downloads", downloads)
            with _quiet():
                builder = _builder(name, pathlib.Path(temporary))
                builder.download_and_prepare(
                    download_dir=str(downloads),
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                )
            prepared = pathlib.Path(builder.data_path)
            final = directory / prepared.relative_to(temporary)
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                prepared.rename(final)
            except OSError:
                if not final.exists():
                    raise
    except UsageError:
        raise
    except Exception as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise DataUnavailable(
            f"dataset {name!r} is not in {directory} and could not be prepared there: "
            f"{_reason(error)}; run `tfds build {name} --data_dir=DIR` on a machine with internet "
            "access, copy DIR here and give it as data_dir."
        ) from None


def _link_downloads(there: pathlib.Path, here: pathlib.Path) -> None:
    """Links files that were downloaded before, by TFDS or by hand."""
    here.mkdir()
    if there.is_dir():
        for file in there.iterdir():
            (here / file.name).symlink_to(file)


def _make_directory(directory: pathlib.Path) -> list[pathlib.Path]:
    """Creates a directory and its parents; returns the created ones, the innermost first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.ConnectionError) and error.request is not None:
        return f"no connection to {urllib.parse.urlsplit(error.request.url).netloc}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type if there is no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def _read(
    name: str, builder: Any, features: Sequence[str], image_size: int | None, only_split: str
) -> Source:
    """Reads and decodes a prepared data set."""
    splits = builder.info.splits
    first = only_split or "train"
    if first not in splits:
        raise UsageError(f"dataset {name!r} has no split {first!r}, only {', '.join(splits)}.")
    image, *labels_of = features
    dtype = np.dtype(builder.info.features[image].np_dtype)
    if dtype != np.uint8:
        raise UsageError(f"dataset {name!r} has {dtype} images; only uint8 images can be used.")
    train = _read_split(name, builder, first, features, image_size)
    test = None
    for split in ("test", "validation"):
        # In data sets of competitions, the labels of the test part are -1, that is, unknown.
        if test is None and split in splits and not only_split:
            examples = _read_split(name, builder, split, features, image_size)
            test = examples if examples.y.min() >= min(0, train.y.min()) else None
    source = Source(name=name, train=train, test=test, class_names=(), kind="image")
    return tfds_labels.with_classes(source, builder, labels_of, few=bool(only_split))


def _read_split(
    name: str, builder: Any, split: str, features: Sequence[str], image_size: int | None
) -> Examples:
    """Returns the examples of one split, in the order of its files."""
    import tensorflow_datasets as tfds

    # The examples are read once, so TFDS's cache would only use memory.
    dataset = builder.as_dataset(
        split=split, shuffle_files=False, read_config=tfds.ReadConfig(try_autocache=False)
    )
    dataset = dataset.map(lambda example: tuple(example[feature] for feature in features))
    height, width, channels = builder.info.features[features[0]].shape
    of_one_size = height is not None and width is not None
    if not of_one_size and image_size is None:
        height, width = next(dataset.as_numpy_iterator())[0].shape[:2]
    shape = (image_size or height, image_size or width, channels)
    # Images of several sizes cannot be stacked before they are scaled.
    dataset = dataset.batch(256 if of_one_size else 1)
    # Given labels and, if they are known, true ones.
    columns: list[list[int]] = [[] for _ in features[1:]]

    def decoded() -> Iterator[np.ndarray]:
        for pixels, *values_of in dataset.as_numpy_iterator():
            if image_size is not None:
                pixels = np.stack([images.scaled(one, image_size) for one in pixels])
            elif pixels.shape[1:] != shape:
                raise images.sizes_differ(
                    f"images 0 and {len(columns[0])} of dataset {name!r}",
                    shape[:2],
                    pixels.shape[1:3],
                )
            for column, values in zip(columns, values_of, strict=True):
                column.extend(values.tolist())
            yield pixels

    size = builder.info.splits[split].num_examples
    x = storage.keep(decoded(), (size, *shape), pathlib.Path(builder.data_path).parent)
    y, *true_y = (np.asarray(column, np.int64) for column in columns)
    return examples_from(x, y, true_y=true_y[0] if true_y else None)
