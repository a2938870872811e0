"""All private names of Keras that the package uses; no other file uses any.

Check them when Keras is upgraded. The names, why each is needed, and what would replace it:

- `CompileLoss`, `get_loss`: match outputs, labels, losses and loss weights as `compile` does, with
  a value per example; a public container of losses would replace them.
- `get_data_adapter`, `DataAdapter`, `ArrayDataAdapter` with its `_inputs` and `_num_samples`,
  `array_slicing`, `can_convert_arrays`, `class_weight_to_sample_weights`,
  `make_class_weight_map_fn`: pair any data that `fit` takes with clean batches; passing `fit` a
  `tf.data.Dataset` would replace them, but lose the order of arrays and the hooks of PyDatasets.
- `train_validation_split`: `validation_split` of any structure of arrays.
- `global_seed_generator`, `make_default_seed`: the random state of operations without a seed, and
  the seed of `keras.utils.set_random_seed`.
- `_symbolic_build`, `_maybe_symbolic_build`, `_make_function`, `_distribute_strategy`: the
  variables of a step that takes more than `(x, y)`, and logs with several workers (TensorFlow
  issue 72388).
- `_loss_tracker`, `_compile_loss`: the logged `loss`, and the logged loss of each output.
- `_metrics`: metrics that a network holds itself; Keras ignores them in a model that wraps it.
- `_get_metrics_result_or_logs`: what `train_on_batch` returns.
- `_use_cached_eval_dataset`: whether `fit` called `evaluate`.
- `_initial_epoch`: the epoch at which `BackupAndRestore` resumes.
- `_flatten_layers`: layers at any depth.
- `Functional`: whether a network selects its inputs from a dict by name.
- `_keras_history`, `_inbound_nodes`: the graph of a functional model, for `meta_variables="head"`.
- `_flat_losses`: the losses of a `CompileLoss`, by output.
- `_keras_mask`: the mask attached to a tensor.
- `ResourceVariable` (of TensorFlow): a variable that no distribution strategy mirrors.
- `_in_multi_worker_mode` (of TensorFlow): whether a strategy has several workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras.src.models.functional import Functional
from keras.src.random.seed_generator import global_seed_generator, make_default_seed
from keras.src.trainers.compile_utils import CompileLoss, get_loss
from keras.src.trainers.data_adapters import array_slicing, get_data_adapter
from keras.src.trainers.data_adapters.array_data_adapter import (
    ArrayDataAdapter,
    can_convert_arrays,
)
from keras.src.trainers.data_adapters.array_slicing import train_validation_split
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights
from keras.src.trainers.data_adapters.tf_dataset_adapter import make_class_weight_map_fn
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

# At run time the mixin is not a model, but type checkers need the methods of one.
if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object


class DistributedFit(_Model):
    """A mixin for `keras.Model` that makes `fit` and `evaluate` work under any strategy.

    - With several workers, Keras averages the logs of a step along their first axis, so each log
      gets one (TensorFlow issue 72388).
    - Keras builds a model from the sum of a batch's parts, which fails if their sizes differ.
    - A model whose step takes more than `(x, y)` builds itself earlier and overrides
      `builds_itself`.
    """

    @property
    def builds_itself(self) -> bool:
        """Whether the model has built itself, so that Keras need not."""
        return False

    def _make_function(self, step_function: Callable[[Any], Any]) -> Any:
        if not is_multi_worker(self.distribute_strategy):
            return super()._make_function(step_function)

        def step(data: Any) -> Any:
            return keras.tree.map_structure(lambda log: tf.reshape(log, [1]), step_function(data))

        return super()._make_function(step)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = strategy_of(self)
        if self.builds_itself or strategy is None:
            return
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda parts: strategy.experimental_local_results(parts)[0], next(batches)
            )
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)


class DistributedFunctional(DistributedFit, keras.Model):
    """A functional model that can be trained under any strategy."""


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether a strategy has several workers."""
    is_kind = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return is_kind and strategy.extended._in_multi_worker_mode()


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns the strategy in whose scope a model was created, or None."""
    return model._distribute_strategy


def is_validation(arguments: dict[str, Any]) -> bool:
    """Returns whether `fit` called `evaluate`, with data that is already preprocessed."""
    return bool(arguments.get("_use_cached_eval_dataset"))


def resumed_epoch(model: keras.Model) -> int | None:
    """Returns the epoch at which a callback resumed the current `fit`, or None."""
    return model._initial_epoch


def build_metrics(model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> None:
    """Creates the variables of a compiled model's metrics, within a `keras.StatelessScope`."""
    model._compile_loss(y, y_pred, sample_weight)
    model.compute_metrics(x, y, y_pred, sample_weight)


def log_loss(
    model: keras.Model, loss: tf.Tensor, number: tf.Tensor, by_output: Callable[[], Any] | None
) -> None:
    """Adds a step to the mean logged as `loss`, and to the mean loss of each output.

    Args:
        model: A compiled model.
        loss: Loss of the batch, a scalar.
        number: Number of examples.
        by_output: Returns (y, y_pred, sample_weight); None if there is only one output.
    """
    model._loss_tracker.update_state(loss, sample_weight=number)
    if by_output is not None:
        model._compile_loss(*by_output())


def logs_of_step(model: keras.Model, logs: Any) -> Any:
    """Returns the logs of a step as a dict of metric results."""
    return model._get_metrics_result_or_logs(logs)


def flatten_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields a model and its layers at any depth."""
    return model._flatten_layers()


def is_functional(model: keras.Model) -> bool:
    """Returns whether a model is functional and does not override `call`."""
    return isinstance(model, Functional) and type(model).call is Functional.call


def operation_and_inputs(output: Any) -> tuple[Any, list[Any]]:
    """Returns the operation that produced a symbolic tensor, and the operation's inputs."""
    history = output._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors


def own_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """Returns the metrics of a model itself, without those of `compile` and of its layers."""
    return list(model._metrics)


def losses_by_output(losses: CompileLoss) -> list[tuple[Any, Any]]:
    """Returns (path, loss) for each output that has a loss."""
    return [(path, loss) for path, loss, _, _ in losses._flat_losses or []]


def mask_of(tensor: Any) -> Any:
    """Returns the mask attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def arrays_of_adapter(adapter: ArrayDataAdapter) -> Any:
    """Returns the arrays of Keras's array adapter, in a form that can be sliced."""
    arrays = array_slicing.convert_to_sliceable(adapter._inputs, target_backend="tensorflow")
    return keras.tree.lists_to_tuples(keras.tree.traverse(_with_all_rows, arrays))


def _with_all_rows(array: Any) -> Any:
    """Adds the empty last rows of a sparse array, which Keras 3.13 omits."""
    if not isinstance(array, array_slicing.TensorflowSparseWrapper):
        return None
    sparse = array.sparse
    rows = tf.experimental.RowPartition.from_value_rowids(
        sparse.indices[:, 0], nrows=sparse.dense_shape[0]
    ).row_splits()
    parts = (
        tf.RaggedTensor.from_row_splits(part, rows) for part in (sparse.indices, sparse.values)
    )
    return array_slicing.TensorflowSparseWrapper(sparse, *parts)


def examples_of_adapter(adapter: ArrayDataAdapter) -> int:
    """Returns the number of examples of Keras's array adapter."""
    return adapter._num_samples
