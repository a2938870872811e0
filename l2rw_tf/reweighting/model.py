"""ReweightingModel: any Keras network, trained with example weights from a clean batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2rw_tf.reweighting import preflight
from l2rw_tf.reweighting import weighting as weightings
from l2rw_tf.reweighting.explain import py_function_error, sparse_label_error
from l2rw_tf.reweighting.feeding.own_preprocessing import preprocess_source
from l2rw_tf.reweighting.feeding.shards import split_batch
from l2rw_tf.reweighting.keras_internals import (
    logs_of_step,
    train_validation_split,
)
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.meta_gradient import get_estimator
from l2rw_tf.reweighting.monitor import STEP_MEANS, FaultWatch
from l2rw_tf.reweighting.passes import RandomStates
from l2rw_tf.reweighting.preflight import CheckedModel
from l2rw_tf.reweighting.record import Record
from l2rw_tf.reweighting.variables import (
    MetaVariables,
    check_meta_variables,
)
from l2rw_tf.reweighting.weighting.weighting import Weighting


@keras.saving.register_keras_serializable(package="l2rw_tf")
class ReweightingModel(CheckedModel):
    """A network that learns which of its training examples to trust (Algorithm 1 of the paper).

    Each step weights every training example by how well its gradient is aligned with the gradient
    of the loss on a clean batch, and takes one ordinary optimizer step on the weighted loss. The
    model shares the variables of the network: after training, use either.

    ```python
    model = l2rw_tf.ReweightingModel(network)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, clean_data=(x_clean, y_clean), epochs=10)
    model.network.save("network.keras")
    ```

    In addition to Keras's metrics (`loss` is the reweighted loss), `fit` logs `clean_loss`,
    `effective_batch_size` ((Σw)²/Σw²) and `zero_weight_share` as means over the steps of an epoch.
    """

    def __init__(
        self,
        network: keras.Model,
        meta_variables: MetaVariables = "all",
        meta_gradient: str = "nested",
        weighting: str | Weighting = "paper",
        reweight_every: int = 1,
        **kwargs: Any,
    ) -> None:
        """Wraps a network.

        Args:
            network: Any `keras.Model`, unchanged.
            meta_variables: Variables that the meta-gradient is computed for: "all" trainable
                variables as in the paper, "last_block" for those from the last residual block on,
                "head" for those of the last layer of every output (both much cheaper), or a
                function that takes a variable and returns whether to include it.
            meta_gradient: "nested" (exact); "forward" (exact, needs less memory for deep networks,
                does not support loops such as recurrent layers); or "finite_difference" for
                networks with operations that have no second derivative.
            weighting: How u becomes weights: "paper" (line 11 of the algorithm);
                "meta_weight_net", a small network of the loss that u trains; or an object of a
                subclass of `reweighting.weighting.weighting.Weighting`.
            reweight_every: k, to compute weights in every k-th step of `fit` only. In the other
                steps each example keeps the weight of its last visit, which needs `track_examples`
                if the training data is a data set; it should be shuffled, or some batches are never
                weighted. For k = 4 a step costs 1.5 plain steps instead of 2.7.
            **kwargs: `name`, as of any `keras.Model`.

        Raises:
            UsageError: If an argument is not one of these.
        """
        preflight.check_network(network)
        check_meta_variables(meta_variables)
        preflight.check_reweight_every(reweight_every)
        # The network's own policy decides on loss scaling in `compile`.
        kwargs.setdefault("dtype", network.dtype_policy)
        # The network casts its inputs itself.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self.weighting = weightings.get(weighting)
        self.reweight_every = reweight_every
        self._meta_variables = meta_variables
        self._meta_gradient = meta_gradient
        self._estimator = get_estimator(meta_gradient)
        self._record = Record(name="record")
        self._random_states = RandomStates(network, name="random_states")
        self._faults = FaultWatch(name="faults")
        self._step_means = {name: keras.metrics.Mean(name=name) for name in STEP_MEANS}
        self._weights_function: Any = None
        self._checked_kind = ""
        if network.built:
            self.built = True

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: As in Keras.
            loss: As in Keras, with a value per example; required.
            loss_weights: As in Keras.
            metrics: As in Keras.
            weighted_metrics: As in Keras, weighted by the user's sample weights.
            **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile` and `auto_scale_loss` as
                in Keras. `jit_compile="auto"` uses XLA on a GPU.

        Raises:
            UsageError: If there is no loss, or the optimizer or XLA cannot be used under the
                distribution strategy of the model.
        """
        example_losses = ExampleLosses(loss, loss_weights, getattr(self, "output_names", None))
        with self._strategy_scope():
            super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
        preflight.check_replicas(
            self.distribute_strategy, self.optimizer, kwargs.get("jit_compile")
        )
        self._faults.start(isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer))
        self._example_losses = example_losses
        self._weights_function = None
        self._checked_kind = ""

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
        *,
        clean_data: Any = None,
        clean_batch_size: int | None = None,
        track_examples: bool | int = False,
    ) -> keras.callbacks.History:
        """Trains with example weights.

        All arguments but the last three are those of `keras.Model.fit` and keep their meaning.

        Args:
            x: Training inputs: NumPy arrays or a dict or list of them, a `tf.data.Dataset` or a
                `keras.utils.PyDataset` of batches `(x, y)` or `(x, y, sample_weight)`.
            y: Training labels, if `x` is arrays.
            batch_size: Training batch size for arrays; 32 by default.
            epochs: Number of the last epoch.
            verbose: 0, 1, 2 or "auto".
            callbacks: Keras callbacks.
            validation_split: Fraction of the arrays to hold out.
            validation_data: Data for `val_` metrics.
            shuffle: Whether to shuffle training arrays. The order depends only on Keras's seed and
                the epoch, so that `keras.callbacks.BackupAndRestore` resumes it.
            class_weight: Class weights of the training examples; not applied to the clean data.
            sample_weight: A weight s_i per example: w̃_i = s_i max(u_i, 0); 0 excludes an example.
            initial_epoch: Number of the first epoch.
            steps_per_epoch: Training batches per epoch.
            validation_steps: Validation batches.
            validation_batch_size: Size of the validation batches.
            validation_freq: How often to validate.
            clean_data: The trusted examples: `(x, y)` or `(x, y, sample_weight)` of arrays
                (shuffled, batched and repeated), a `tf.data.Dataset` or a PyDataset of batches
                (repeated). Its `sample_weight` weights the mean of the clean losses.
            clean_batch_size: Clean batch size M for arrays; by default the training batch size or
                the size of the clean set, whichever is smaller.
            track_examples: Whether to record the weight, u and loss of each training example, for
                `example_record`. For arrays, True: examples are numbered from 0. For a data set of
                `{"examples": (x, y[, sample_weight]), "ids": ids}`, which `number_examples`
                returns, the number of examples. A later `fit` continues the record if the number of
                examples and, for arrays, the labels are the same.

        Returns:
            Keras's `History`.

        Raises:
            UsageError: If the data, the loss or the network cannot be used.
            TrainingDiverged: If a loss or u becomes NaN or infinite.
        """
        self._require_compiled("fit")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        batches = self._joined_batches(
            (x, y, sample_weight),
            clean_data,
            track_examples,
            initial_epoch,
            batch_size=batch_size,
            clean_batch_size=clean_batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
        )
        try:
            with self._steps_logged(), self._random_states.resumed(), self._faults.resumed():
                history = super().fit(
                    x=batches,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=callbacks,
                    validation_data=preprocess_source(self.network, validation_data),
                    shuffle=False,
                    initial_epoch=initial_epoch,
                    steps_per_epoch=steps_per_epoch,
                    validation_steps=validation_steps,
                    validation_batch_size=validation_batch_size or batch_size,
                    validation_freq=validation_freq,
                )
        except tf.errors.InvalidArgumentError as error:
            raise sparse_label_error(error) or error from None
        except tf.errors.UnknownError as error:
            raise py_function_error(error) or error from None
        self._look_for_faults()
        return history

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model; takes the arguments of `keras.Model.evaluate`."""
        with self._steps_logged(False):
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates one batch; takes the arguments of `keras.Model.test_on_batch`."""
        with self._steps_logged(False):
            return super().test_on_batch(*args, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
        *,
        clean_data: Any = None,
    ) -> Any:
        """Takes one training step.

        Args:
            x: Inputs of one training batch.
            y: Its labels.
            sample_weight: The user's weights of its examples.
            class_weight: Class weights; only without `sample_weight`.
            return_dict: Whether to return a dict instead of a list.
            clean_data: One clean batch, `(x, y)` or `(x, y, sample_weight)` of arrays.

        Returns:
            The metrics after the step, as `keras.Model.train_on_batch` returns them.

        Raises:
            UsageError: If the data, the loss or the network cannot be used.
        """
        self._require_compiled("train_on_batch")
        pair = self._checked_pair(x, y, sample_weight, clean_data, class_weight)
        with self._steps_logged():
            self.make_train_function()
            self.reset_metrics()
            pair = split_batch(self.distribute_strategy, pair)
            logs = logs_of_step(self, self.train_function(iter([pair])))
        logs = {name: float(np.asarray(value)) for name, value in logs.items()}
        return logs if return_dict else list(logs.values())

    def example_weights(
        self, x: Any, y: Any, sample_weight: Any = None, *, clean_data: Any
    ) -> np.ndarray:
        """Returns the weights that a training batch would get now, without changing any state.

        Args:
            x: Inputs of one batch, first dimension N.
            y: Its labels.
            sample_weight: The user's weights of its examples, or None.
            clean_data: One clean batch, `(x, y)` or `(x, y, sample_weight)` of arrays.

        Returns:
            w of equations 6 to 9, float32, shape (N,): non-negative with sum 1, or all 0.

        Raises:
            UsageError: If the data, the loss or the network cannot be used.
        """
        self._require_compiled("example_weights")
        pair = self._checked_pair(x, y, sample_weight, clean_data)
        if self._is_eager:
            return np.asarray(self._weights_of_batch(pair), np.float32)
        if self._weights_function is None:
            self._weights_function = tf.function(
                self._weights_of_batch, autograph=False, jit_compile=self.jit_compile
            )
        return np.asarray(self._weights_function(pair), np.float32)

    def example_record(self) -> dict[str, np.ndarray]:
        """Returns the record of all training examples since tracking began.

        Returns:
            A dict of columns of shape (number of examples,): `id`, `times_seen`, `mean_weight`,
            `mean_u` (signed; u divided by its batch's mean of |u|), `mean_loss`, `positive_share`
            (fraction of visits with a positive weight), `last_weight`, `last_u` and `smoothed_u`.
            NaN if an example was never seen. It can be passed to `pandas.DataFrame`.

        Raises:
            UsageError: If no training was tracked.
        """
        return self._record.columns()

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        parts = {
            "meta_variables": self._meta_variables,
            "meta_gradient": self._meta_gradient,
            "weighting": self.weighting,
            "reweight_every": self.reweight_every,
        }
        serialize = keras.saving.serialize_keras_object
        return super().get_config() | {name: serialize(part) for name, part in parts.items()}
