"""Pairs training batches with clean batches, for every kind of data that Keras accepts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.feeding import checks, shards
from l2rw_tf.reweighting.feeding.array_order import ShuffledArrays
from l2rw_tf.reweighting.feeding.same_batches import SameBatches
from l2rw_tf.reweighting.keras_internals import (
    ArrayDataAdapter,
    DataAdapter,
    class_weight_to_sample_weights,
    get_data_adapter,
    make_class_weight_map_fn,
    make_default_seed,
)

TRAINING = "training"
CLEAN = "clean"
EXAMPLES = "examples"
IDS = "ids"
ROWS = "rows"

_DEFAULT_BATCH_SIZE = 32


class PairedBatches(SameBatches):
    """A data adapter that pairs each training batch with a clean batch.

    An element is `{"training": (x, y[, sample_weight]), "clean": (x, y[, sample_weight])}`. If
    examples are tracked, it also has `"rows"`, the rows of the training examples in the record. The
    training data sets the length of an epoch; the clean data is repeated as needed.

    Attributes:
        labels: All labels that could be read before training, as structures of arrays by the name
            that error messages use.
    """

    def __init__(
        self,
        training: DataAdapter,
        clean: DataAdapter,
        split_ids: Any,
        carry_on: bool,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """Pairs two of Keras's data adapters.

        Args:
            training: The training batches.
            clean: The clean batches.
            split_ids: Splits an element of the training data into a batch, and rows or None.
            carry_on: Whether an epoch continues the clean data where the last epoch stopped.
            strategy: The strategy; each of its replicas gets a part of every batch.
        """
        super().__init__(training)
        self.labels: dict[str, Any] = {}
        self._training = training
        self._clean = clean
        self._split_ids = split_ids
        self._strategy = strategy
        # One endless iterator for all epochs, or None if every epoch starts a new one.
        self._rest_of_clean = iter(clean.get_tf_dataset().repeat()) if carry_on else None

    def get_tf_dataset(self) -> tf.data.Dataset | tf.distribute.DistributedDataset:
        """Returns the joined batches of one epoch, divided among the replicas."""
        return shards.distribute(self._strategy, self._joined)

    @functools.cached_property
    def _joined(self) -> tf.data.Dataset:
        """The joined batches of one epoch; cached, as tracing them takes 0.1 s."""
        training = self._training.get_tf_dataset()
        if (rest_of_clean := self._rest_of_clean) is not None:
            # Not `zip`, which would drop one clean batch at the end of each epoch.
            paired = training.map(lambda *element: (_as_one(element), _next(rest_of_clean)))
        else:
            paired = tf.data.Dataset.zip(training, self._clean.get_tf_dataset().repeat())
        return paired.map(self._join).prefetch(tf.data.AUTOTUNE)

    def _join(self, element: Any, clean_batch: Any) -> dict[str, Any]:
        batch, rows = self._split_ids(element)
        joined = {TRAINING: batch, CLEAN: checks.in_order_of(batch, clean_batch)}
        return joined if rows is None else {**joined, ROWS: rows}

    @property
    def element_spec(self) -> dict[str, Any]:
        """The type specification of an element."""
        return self._joined.element_spec

    def on_epoch_begin(self) -> None:
        """Calls `on_epoch_begin` of both adapters."""
        self._training.on_epoch_begin()
        self._clean.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Calls `on_epoch_end` of both adapters."""
        self._training.on_epoch_end()
        self._clean.on_epoch_end()


def _next(batches: Any) -> Any:
    """Returns the next batch of an iterator, which TensorFlow keeps alive forever."""
    spec = batches.element_spec
    parts = tf.nest.flatten(spec, expand_composites=True)
    taken = tf.py_function(
        lambda: tf.nest.flatten(next(batches), expand_composites=True),
        [],
        [part.dtype for part in parts],
    )
    for tensor, part in zip(taken, parts, strict=True):
        tensor.set_shape(part.shape)
    return tf.nest.pack_sequence_as(spec, taken, expand_composites=True)


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
    track_examples: bool | int = False,
    takes_text: bool = False,
    takes: checks.Takes = lambda batch: False,
    strategy: tf.distribute.Strategy | None = None,
    first_epoch: Callable[[], int] = lambda: 0,
) -> PairedBatches:
    """Checks that training data and clean data match, and pairs their batches.

    Args:
        x: Training inputs as `Model.fit` takes them: arrays, a structure of arrays, a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator.
        y: Training labels, or None if `x` contains them.
        sample_weight: The user's weights of the training examples, or None.
        clean_data: `(x, y)` or `(x, y, sample_weight)` of arrays, a data set or a PyDataset.
        batch_size: Training batch size if `x` is arrays; 32 by default.
        clean_batch_size: Clean batch size if `clean_data` is arrays; by default the training batch
            size or the size of the clean set, whichever is smaller.
        steps_per_epoch: As in `Model.fit`.
        shuffle: As in `Model.fit`, for the training data.
        class_weight: As in `Model.fit`; not applied to the clean data.
        track_examples: Whether the batches carry ids; arrays are numbered here.
        takes_text: Whether the network may have a text input.
        takes: See `checks.check_arrays`.
        strategy: The strategy that `fit` runs under; by default the current one.
        first_epoch: Returns the number of the first epoch; called when that epoch begins. Arrays
            are shuffled by Keras's random seed and the epoch.

    Returns:
        An adapter that `Model.fit` accepts as `x`.

    Raises:
        UsageError: If there is no clean data, or it does not match the training data.
    """
    checks.check_sizes(batch_size=batch_size, clean_batch_size=clean_batch_size)
    if isinstance(x, tf.distribute.DistributedDataset):
        raise UsageError(
            "The training data is distributed already: pass the tf.data.Dataset of global batches; "
            "fit divides each of them, with a clean batch, among the replicas."
        )
    labels = {}
    if checks.is_arrays(x):
        x, y, sample_weight = checks.numbers((x, y, sample_weight))
        size = batch_size or _DEFAULT_BATCH_SIZE
        checks.check_arrays("", x, y, sample_weight, takes_text, takes, size)
        labels["y"] = y
    x, class_weight, split_ids = _with_ids(x, class_weight, track_examples)
    training = get_data_adapter(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        shuffle=shuffle if _can_shuffle(x) else False,
        class_weight=class_weight,
    )
    if clean_batch_size is None:
        clean_batch_size = training.batch_size or batch_size or _DEFAULT_BATCH_SIZE
    clean, clean_y = _clean_adapter(clean_data, clean_batch_size, takes_text, takes)
    if steps_per_epoch is None:
        if shuffle and shuffle != "batch":
            training = _in_own_order(training, first_epoch, endless=False)
        clean = _in_own_order(clean, first_epoch, endless=True)
    # With steps_per_epoch Keras keeps one iterator for all epochs, and arrays are reshuffled.
    carry_on = steps_per_epoch is None and checks.clean_arrays(clean_data) is None
    strategy = strategy or tf.distribute.get_strategy()
    batches = PairedBatches(training, clean, split_ids, carry_on, strategy)
    batches.labels = {**labels, "clean_data's y": clean_y}
    spec = batches.element_spec
    checks.check_same_kind(spec[TRAINING], spec[CLEAN], takes_text)
    return batches


def single_pair(
    x: Any,
    y: Any,
    sample_weight: Any,
    clean_data: Any,
    class_weight: dict[int, float] | None = None,
    takes_text: bool = False,
    takes: checks.Takes = lambda batch: False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Checks one training batch and one clean batch and pairs them, without shuffling.

    Args:
        x: Inputs of one batch, arrays of first dimension N.
        y: Its labels.
        sample_weight: The user's weights of its examples, or None.
        clean_data: `(x, y)` or `(x, y, sample_weight)` of arrays, one batch.
        class_weight: Class weights of the training batch; only without `sample_weight`.
        takes_text: Whether the network may have a text input.
        takes: See `checks.check_arrays`.

    Returns:
        An element as in `PairedBatches`, and its labels as in `PairedBatches.labels`.

    Raises:
        UsageError: If there is no clean data, or it does not match the training data.
    """
    clean = checks.clean_arrays(clean_data)
    if clean is None:
        checks.check_clean_kind(clean_data, (tf.data.Dataset, keras.utils.PyDataset))
        raise UsageError("clean_data must be one batch of arrays here: (x, y[, sample_weight]).")
    x, y, sample_weight, *clean = checks.numbers((x, y, sample_weight, *_three(clean)))
    checks.check_arrays("", x, y, sample_weight, takes_text, takes)
    checks.check_arrays("clean_data's ", clean[0], clean[1], clean[2], takes_text, takes)
    if class_weight is not None:
        if sample_weight is not None:
            raise UsageError("class_weight and sample_weight cannot be given together.")
        sample_weight = class_weight_to_sample_weights(y, class_weight)
    given = {TRAINING: (x, y, sample_weight), CLEAN: checks.in_order_of((x, y), (*clean,))}
    pair = {
        side: keras.tree.map_structure(
            _as_keras_casts, parts if parts[2] is not None else parts[:2]
        )
        for side, parts in given.items()
    }
    checks.check_same_kind(pair[TRAINING], pair[CLEAN], takes_text)
    return pair, {"y": y, "clean_data's y": clean[1]}


def number_examples(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Adds an id to each example of a data set, for `fit(..., track_examples=n)`.

    Call it on single examples in their stored order, before shuffling and batching:

    ```python
    training = l2rw_tf.number_examples(examples).shuffle(10_000).batch(100)
    model.fit(training, clean_data=clean, track_examples=60_000)
    ```

    Args:
        dataset: A data set of single examples, `(x, y)` or `(x, y, sample_weight)`.

    Returns:
        A data set of `{"examples": (x, y[, sample_weight]), "ids": id}`, ids counted from 0, int64.
    """
    return dataset.enumerate().map(lambda number, example: {EXAMPLES: example, IDS: number})


def _clean_adapter(
    clean_data: Any, batch_size: int, takes_text: bool, takes: checks.Takes
) -> tuple[DataAdapter, Any]:
    """Returns an adapter of the clean data, and its labels or None if they cannot be read."""
    checks.check_clean_kind(clean_data, (tf.data.Dataset, keras.utils.PyDataset))
    arrays = checks.clean_arrays(clean_data)
    if arrays is not None:
        x, y, sample_weight = checks.numbers(_three(arrays))
        size = checks.check_arrays(
            "clean_data's ", x, y, sample_weight, takes_text, takes, batch_size
        )
        adapter = get_data_adapter(
            x, y, sample_weight=sample_weight, batch_size=min(batch_size, size), shuffle=True
        )
        return adapter, y
    if isinstance(clean_data, keras.utils.PyDataset):
        if clean_data.num_batches == 0:
            raise UsageError("clean_data is a PyDataset without batches: it needs at least one.")
        clean_data = _InThisThread(clean_data)
    adapter = get_data_adapter(clean_data, shuffle=_can_shuffle(clean_data))
    return adapter, checks.check_clean_stream(adapter.get_tf_dataset(), takes_text, takes)


def _in_own_order(
    adapter: DataAdapter, first_epoch: Callable[[], int], endless: bool
) -> DataAdapter:
    """Makes an adapter of arrays shuffle by seed and epoch; returns other adapters unchanged."""
    if not isinstance(adapter, ArrayDataAdapter):
        return adapter
    return ShuffledArrays(adapter, make_default_seed(), first_epoch, endless)


class _InThisThread(keras.utils.PyDataset):
    """A PyDataset read without workers: their queue cannot be repeated within an epoch."""

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


def _as_one(element: tuple[Any, ...]) -> Any:
    """Undoes tf.data's unpacking of a tuple into arguments."""
    return element[0] if len(element) == 1 and isinstance(element[0], dict) else element


def _can_shuffle(x: Any) -> bool:
    """Returns whether Keras's adapter can shuffle `x`; if not, `shuffle=True` makes it warn."""
    return checks.is_arrays(x) or (
        isinstance(x, keras.utils.PyDataset) and x.num_batches is not None
    )


def _with_ids(
    x: Any, class_weight: dict[int, float] | None, track_examples: bool | int
) -> tuple[Any, dict[int, float] | None, Any]:
    """Returns data with ids, the class weights left to apply, and a function to split ids off."""
    if isinstance(x, tf.data.Dataset) and _carries_ids(x.element_spec):
        return _with_class_weight(x, class_weight), None, _ids_beside_examples
    if not track_examples:
        return x, class_weight, _without_ids
    if checks.is_arrays(x):
        numbered = {EXAMPLES: x, IDS: np.arange(checks.length(keras.tree.flatten(x)[0]))}
        return numbered, class_weight, _ids_beside_inputs
    if isinstance(x, keras.utils.PyDataset):
        return x, class_weight, _ids_beside_examples
    raise UsageError(
        "track_examples needs the ids of the examples: give arrays, or a data set whose elements "
        "are {'examples': (x, y), 'ids': ids}, which l2rw_tf.number_examples makes."
    )


def _without_ids(element: Any) -> tuple[Any, None]:
    return element, None


def _ids_beside_inputs(element: Any) -> tuple[Any, tf.Tensor]:
    """Splits an element of arrays that `_with_ids` numbered into batch and ids."""
    return (element[0][EXAMPLES], *element[1:]), element[0][IDS]


def _ids_beside_examples(element: Any) -> tuple[Any, tf.Tensor]:
    """Splits an element of a data set with ids into batch and ids."""
    if not _carries_ids(element):
        raise UsageError(
            "track_examples needs batches of the form {'examples': (x, y), 'ids': ids}, got "
            f"{checks.describe(element)}."
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


def _three(arrays: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    return keras.utils.unpack_x_y_sample_weight(tuple(arrays))


def _as_keras_casts(value: Any) -> Any:
    """Returns a tensor, with floats cast to `floatx` as in Keras's array adapter."""
    if value is None:
        return None
    value = value.to_numpy() if hasattr(value, "to_numpy") else value
    tensor = value if tf.is_tensor(value) else tf.convert_to_tensor(value)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor
