"""Training batches side by side with clean batches, in every form of data that Keras takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters import get_data_adapter
from keras.src.trainers.data_adapters.array_data_adapter import can_convert_arrays
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import make_class_weight_map_fn

from l2rw_tf.errors import UsageError

TRAINING = "training"
CLEAN = "clean"
EXAMPLES = "examples"
IDS = "ids"

_DEFAULT_BATCH_SIZE = 32


class PairedBatches(DataAdapter):
    """Keras's adapter of the training data, each batch joined by one of clean data.

    An element is `{"training": (x, y[, sample_weight]), "clean": (x, y[, sample_weight])}`, with
    `"ids"` of the training examples where these are tracked. The training data sets the length of
    an epoch; the clean data is repeated as often as it takes.
    """

    def __init__(self, training: DataAdapter, clean: DataAdapter, split_ids: Any) -> None:
        """Joins two of Keras's adapters.

        Args:
            training: The training batches.
            clean: The clean batches.
            split_ids: Turns an element of the training data into a batch and ids or None.
        """
        self._training = training
        self._clean = clean
        self._split_ids = split_ids

    def get_tf_dataset(self) -> tf.data.Dataset:
        """Returns the joined batches of one epoch."""
        training = self._training.get_tf_dataset()
        clean = self._clean.get_tf_dataset().repeat()

        def join(element: Any, clean_batch: Any) -> dict[str, Any]:
            batch, ids = self._split_ids(element)
            joined = {TRAINING: batch, CLEAN: clean_batch}
            return joined if ids is None else {**joined, IDS: ids}

        return tf.data.Dataset.zip(training, clean).map(join).prefetch(tf.data.AUTOTUNE)

    @property
    def num_batches(self) -> int | None:
        """Training batches an epoch, where known."""
        return self._training.num_batches

    @property
    def batch_size(self) -> int | None:
        """Training batch size, where known."""
        return self._training.batch_size

    @property
    def has_partial_batch(self) -> bool | None:
        """Whether the last training batch is smaller, where known."""
        return self._training.has_partial_batch

    @property
    def partial_batch_size(self) -> int | None:
        """Size of the last training batch, where known."""
        return self._training.partial_batch_size

    def on_epoch_begin(self) -> None:
        """Tells both sources of data."""
        self._training.on_epoch_begin()
        self._clean.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells both sources of data."""
        self._training.on_epoch_end()
        self._clean.on_epoch_end()


def pair_batches(
    x: Any,
    y: Any,
    sample_weight: Any,
    clean_data: Any,
    *,
    batch_size: int | None,
    clean_batch_size: int | None,
    steps_per_epoch: int | None,
    shuffle: bool | str,
    class_weight: dict[int, float] | None,
    shuffle_clean: bool = True,
    track_examples: bool | int = False,
) -> PairedBatches:
    """Checks the two sources of data against each other and joins them.

    Args:
        x: Training inputs as `Model.fit` takes them: arrays, a structure of arrays, a
            `tf.data.Dataset` or a `keras.utils.PyDataset`.
        y: Training labels, or None where `x` brings them.
        sample_weight: The user's weights of the training examples, or None.
        clean_data: `(x, y)` or `(x, y, sample_weight)` of arrays, a data set or a PyDataset.
        batch_size: Size of the training batches, where `x` is arrays; 32 by default.
        clean_batch_size: Size of the clean batches, where `clean_data` is arrays; by default that
            of the training batches, or of the clean set where that is smaller.
        steps_per_epoch: As in `Model.fit`.
        shuffle: As in `Model.fit`, for the training data.
        class_weight: As in `Model.fit`; it leaves the clean data alone.
        shuffle_clean: Whether to shuffle clean data given as arrays.
        track_examples: Whether the batches carry ids; arrays are numbered here.

    Returns:
        What `Model.fit` accepts as `x`.

    Raises:
        UsageError: If there is no clean data, or the two do not go together.
    """
    if clean_data is None:
        raise UsageError(
            "Reweighting needs clean data: give fit(..., clean_data=(x_clean, y_clean)), a "
            "handful of "
            "examples whose labels you trust, or a tf.data.Dataset or PyDataset of them."
        )
    for name, size in (("batch_size", batch_size), ("clean_batch_size", clean_batch_size)):
        if size is not None and (not isinstance(size, (int, np.integer)) or size < 1):
            raise UsageError(f"{name} must be a whole number of at least 1, got {size!r}.")
    if _is_arrays(x):
        if y is None:
            raise UsageError("The training data has no labels: give fit(x, y, ...).")
        _check_finite({"x": x, "y": y, "sample_weight": sample_weight})
        _check_lengths("the training data", x, y, sample_weight)
    split_ids = _without_ids
    if _is_arrays(x) and track_examples:
        x = {EXAMPLES: x, IDS: np.arange(len(keras.tree.flatten(x)[0]))}
        split_ids = _ids_beside_inputs
    elif isinstance(x, tf.data.Dataset) and _carries_ids(x.element_spec):
        x, class_weight = _with_class_weight(x, class_weight), None
        split_ids = _ids_beside_examples
    elif isinstance(x, keras.utils.PyDataset) and track_examples:
        split_ids = _ids_beside_examples
    elif track_examples:
        raise UsageError(
            "track_examples needs the ids of the examples: give arrays, or a data set whose "
            "elements are {'examples': (x, y), 'ids': ids}, which l2rw_tf.number_examples makes."
        )
    training = get_data_adapter(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        shuffle=shuffle if not isinstance(x, tf.data.Dataset) else False,
        class_weight=class_weight,
    )
    if clean_batch_size is None:
        clean_batch_size = training.batch_size or batch_size or _DEFAULT_BATCH_SIZE
    clean = _clean_adapter(clean_data, clean_batch_size, shuffle_clean)
    batches = PairedBatches(training, clean, split_ids)
    spec = batches.get_tf_dataset().element_spec
    _check_specs(spec[TRAINING], spec[CLEAN])
    return batches


def number_examples(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Numbers the examples of a data set, so that `fit(..., track_examples=n)` knows them by id.

    To be called on single examples in their stored order, before shuffling and batching:

    ```python
    training = l2rw_tf.number_examples(examples).shuffle(10_000).batch(100)
    model.fit(training, clean_data=clean, track_examples=60_000)
    ```

    Args:
        dataset: Elements `(x, y)` or `(x, y, sample_weight)`, one example each.

    Returns:
        A data set of `{"examples": (x, y[, sample_weight]), "ids": id}`, ids counted from 0, int64.
    """
    return dataset.enumerate().map(lambda number, example: {EXAMPLES: example, IDS: number})


def clean_arrays(clean_data: Any) -> tuple[Any, ...] | None:
    """Returns clean data given as arrays as `(x, y[, sample_weight])`, or None for other kinds."""
    if isinstance(clean_data, (tuple, list)) and len(clean_data) in (2, 3):
        if can_convert_arrays(tuple(clean_data)):
            return tuple(clean_data)
    return None


def _clean_adapter(clean_data: Any, batch_size: int, shuffle: bool) -> DataAdapter:
    arrays = clean_arrays(clean_data)
    if arrays is not None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(arrays)
        names = {"x": x, "y": y, "sample_weight": sample_weight}
        size = _check_lengths("clean_data", x, y, sample_weight)
        if size == 0:
            raise UsageError("clean_data holds no examples: give at least one that you trust.")
        _check_finite({f"clean_data's {name}": value for name, value in names.items()})
        return get_data_adapter(
            x, y, sample_weight=sample_weight, batch_size=min(batch_size, size), shuffle=shuffle
        )
    if not isinstance(clean_data, (tf.data.Dataset, keras.utils.PyDataset)):
        raise UsageError(
            "clean_data must be (x, y) or (x, y, sample_weight) of arrays, a tf.data.Dataset or a "
            f"keras.utils.PyDataset, got {_describe(clean_data)}."
        )
    if isinstance(clean_data, keras.utils.PyDataset):
        if clean_data.num_batches == 0:
            raise UsageError("clean_data is a PyDataset without batches: it needs at least one.")
        clean_data = _InThisThread(clean_data)
    adapter = get_data_adapter(clean_data, shuffle=isinstance(clean_data, keras.utils.PyDataset))
    first = next(iter(adapter.get_tf_dataset().take(1)), None)
    if first is None:
        raise UsageError("clean_data is a data set without batches: it needs at least one.")
    if any(tensor.shape.rank == 0 for tensor in keras.tree.flatten(first) if tensor is not None):
        raise UsageError("clean_data must give batches: call .batch(...) on the data set.")
    _check_finite({"clean_data": keras.tree.map_structure(_to_numpy, first)})
    return adapter


class _InThisThread(keras.utils.PyDataset):
    """A PyDataset read without workers, whose queue cannot be repeated within an epoch."""

    def __init__(self, dataset: keras.utils.PyDataset) -> None:
        super().__init__()
        self._dataset = dataset

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def _is_arrays(x: Any) -> bool:
    return not isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)) and (
        can_convert_arrays((x,))
    )


def _without_ids(element: Any) -> tuple[Any, None]:
    return element, None


def _ids_beside_inputs(element: Any) -> tuple[Any, tf.Tensor]:
    """Of arrays that were numbered here."""
    return (element[0][EXAMPLES], *element[1:]), element[0][IDS]


def _ids_beside_examples(element: Any) -> tuple[Any, tf.Tensor]:
    """Of a data set that brings ids."""
    if not _carries_ids(element):
        raise UsageError(
            "track_examples needs batches of the form {'examples': (x, y), 'ids': ids}, got "
            f"{_describe(element)}."
        )
    return element[EXAMPLES], element[IDS]


def _carries_ids(element: Any) -> bool:
    return isinstance(element, dict) and set(element) == {EXAMPLES, IDS}


def _with_class_weight(
    dataset: tf.data.Dataset, class_weight: dict[int, float] | None
) -> tf.data.Dataset:
    if class_weight is None:
        return dataset
    weigh = make_class_weight_map_fn(class_weight)
    return dataset.map(lambda element: {EXAMPLES: weigh(*element[EXAMPLES]), IDS: element[IDS]})


def _check_lengths(what: str, x: Any, y: Any, sample_weight: Any) -> int:
    sizes = {len(leaf) for leaf in keras.tree.flatten((x, y, sample_weight)) if leaf is not None}
    if len(sizes) > 1:
        raise UsageError(
            f"The arrays of {what} differ in their number of examples: {sorted(sizes)}."
        )
    return sizes.pop() if sizes else 0


def _check_finite(named: dict[str, Any]) -> None:
    """Refuses what Keras cannot cast, NaN and infinity, by argument and place."""
    for name, structure in named.items():
        for leaf in keras.tree.flatten(structure):
            values = _to_numpy(leaf)
            if isinstance(values, np.ndarray) and values.dtype.kind in "USO":
                raise UsageError(
                    f"{name} holds text or objects ({values.dtype}), which Keras cannot cast to "
                    "numbers: turn it into an array of numbers first."
                )
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fc":
                continue
            finite = np.isfinite(values)
            if not finite.all():
                example = int(np.argwhere(~finite)[0][0]) if values.ndim else 0
                raise UsageError(
                    f"{name} holds {int((~finite).sum())} values that are NaN or infinite, the "
                    f"first "
                    f"in example {example}: remove or replace them."
                )


def _check_specs(training: Any, clean: Any) -> None:
    """Refuses clean batches that are not of the training batches' structure, shape and kind."""
    training_parts = keras.utils.unpack_x_y_sample_weight(training)
    clean_parts = keras.utils.unpack_x_y_sample_weight(clean)
    for name, one, other in zip(("x", "y"), training_parts, clean_parts, strict=False):
        if one is None or other is None:
            side = "training data" if one is None else "clean_data"
            raise UsageError(
                f"The {side} brings no {name}: it must give (x, y) or (x, y, sample_weight)."
            )
        one, other = _as_plain(one), _as_plain(other)
        try:
            keras.tree.assert_same_structure(one, other)
        except ValueError:
            raise UsageError(
                f"clean_data and training data differ in the structure of {name}: "
                f"{_describe(other)} against {_describe(one)}."
            ) from None
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            if not a.shape[1:].is_compatible_with(b.shape[1:]):
                raise UsageError(
                    f"clean_data and training data differ in the shape of an example's {name}: "
                    f"{_shape(b)} against {_shape(a)}."
                )
            for kind in (a.dtype, b.dtype):
                if kind == tf.string:
                    raise UsageError(
                        f"The {name} of clean_data or training data is text, which Keras cannot "
                        f"cast "
                        "to numbers: turn it into numbers first."
                    )


def _as_plain(structure: Any) -> Any:
    """Lists and tuples count as the same, as they do in Keras."""
    return keras.tree.lists_to_tuples(structure)


def _to_numpy(value: Any) -> Any:
    if isinstance(value, tf.Tensor):
        return value.numpy()
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _shape(spec: Any) -> str:
    return str(tuple(spec.shape[1:]))


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict with the keys {sorted(value)}"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} parts"
    return (
        "one array"
        if isinstance(value, tf.TensorSpec)
        else f"an object of type {type(value).__name__}"
    )
