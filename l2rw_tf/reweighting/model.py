"""ReweightingModel: any Keras network, trained with example weights from a clean batch."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.feeding import checks
from l2rw_tf.reweighting.feeding.batches import CLEAN, IDS, TRAINING, pair_batches, single_pair
from l2rw_tf.reweighting.losses import ExampleLosses
from l2rw_tf.reweighting.meta_gradient import (
    CleanReference,
    align,
    clean_gradient,
    clean_reference,
    difference_along,
    get_meta_gradient,
    sparse_label_error,
)
from l2rw_tf.reweighting.monitor import StepMonitor
from l2rw_tf.reweighting.passes import (
    call_for_training,
    observed_call,
    random_seeds,
    split_sample_weight,
)
from l2rw_tf.reweighting.record import Ledger
from l2rw_tf.reweighting.replicas import (
    DistributedFit,
    clips,
    gradients_for,
    part_of_sum,
    share_of_examples,
    split_batch,
    state_kept_without_examples,
    sum_over_replicas,
)
from l2rw_tf.reweighting.variables import (
    MetaVariables,
    check_meta_variables,
    select_meta_variables,
)
from l2rw_tf.reweighting.weighting import history_evidence as likeness
from l2rw_tf.reweighting.weighting.history import HistoryWeighting, get_weighting
from l2rw_tf.reweighting.weights import normalize, scale

# A batch size that no other axis has: losses that keep the first axis show by it.
_UNLIKELY_BATCH_SIZE = 10_007
_GPU_LOOKS_EVERY = 20
# What stands before the names of the arrays that are saved beside Keras's own.
_LEDGER = "ledger_"
_RANDOM_SEED = "random_seed_"


@keras.saving.register_keras_serializable(package="l2rw_tf")
class ReweightingModel(DistributedFit, keras.Model):
    """A network that learns which of its training examples to trust (algorithm 1 of the paper).

    At every step each training example is weighted by how well its gradient agrees with the
    gradient of the loss on a clean batch, and one ordinary step of the optimizer follows on the
    weighted loss. The model shares the variables of the network; train with it, then use either.

    ```python
    model = l2rw_tf.ReweightingModel(network)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, clean_data=(x_clean, y_clean), epochs=10)
    model.network.save("network.keras")
    ```

    `fit` logs, beside Keras's own metrics (whose `loss` is the reweighted loss), `clean_loss`,
    `effective_batch_size` ((Σw)²/Σw²) and `zero_weight_share` as means over the steps of an epoch.
    """

    def __init__(
        self,
        network: keras.Model,
        meta_variables: MetaVariables = "all",
        meta_gradient: str = "nested",
        tracked_examples: int | None = None,
        weighting: str | HistoryWeighting = "paper",
        **kwargs: Any,
    ) -> None:
        """Wraps a network.

        Args:
            network: Any `keras.Model`; nothing of it is rewritten.
            meta_variables: What the meta-gradient is taken through: "all" trainable variables as in
                the paper, "head" for those of the last layer of every output (much cheaper), or a
                function that is given a variable and returns whether it takes part.
            meta_gradient: "nested" (exact), or "finite_difference" for networks with operations
                that have no second derivative.
            tracked_examples: Number of training examples of a record to be taken up; `fit` with
                `track_examples` begins one by itself.
            weighting: From u to weights: "paper" (step 3 of the method), or "history", which
                weights an example by what all its visits have shown, and by this batch's u where
                classes are uneven or the network has many parameters an example; a
                `reweighting.history.HistoryWeighting` sets that one's constants.
            **kwargs: `name`, as of any `keras.Model`.

        Raises:
            UsageError: If an argument is not one of these.
        """
        if not isinstance(network, keras.Model):
            raise UsageError(
                f"network must be a keras.Model, got an object of type {type(network).__name__}."
            )
        if type(network).compute_loss is not keras.Model.compute_loss:
            raise UsageError(
                f"The network {network.name!r} has a compute_loss of its own, which gives no value "
                "per example: give its loss to compile(loss=...) and remove the method."
            )
        check_meta_variables(meta_variables)
        if meta_gradient not in ("nested", "finite_difference"):
            raise UsageError(
                f"meta_gradient must be 'nested' or 'finite_difference', got {meta_gradient!r}."
            )
        # The network's own policy decides on loss scaling in `compile`.
        kwargs.setdefault("dtype", network.dtype_policy)
        # Inputs reach the network as they come: it casts them itself.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self._meta_variables = meta_variables
        self._meta_gradient = meta_gradient
        self._example_losses: ExampleLosses | None = None
        self._monitor: StepMonitor | None = None
        self._weights_function: Any = None
        self._checked_kind = ""
        # Whether weights that are loaded now go on with a training, as callbacks do it.
        self._resuming = False
        self._history = get_weighting(weighting)
        self._ledger = None if tracked_examples is None else self._new_ledger(tracked_examples)
        if network.built:
            self.built = True

    def call(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns the network's outputs.

        Args:
            inputs: What the network takes.
            training: Whether layers such as dropout run as in training.
            **kwargs: Further arguments of the network.
        """
        if training:
            return call_for_training(self.network, inputs)
        return self.network(inputs, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Builds the network for inputs of this shape."""
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the network's outputs."""
        return self.network.compute_output_shape(input_shape)

    @property
    def output_names(self) -> list[str]:
        """Names of the network's outputs, by which losses and metrics may be given."""
        return self.network.output_names

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
            UsageError: If there is no loss, or the optimizer or XLA cannot be used on the replicas
                of the strategy in whose scope the model was made.
        """
        example_losses = ExampleLosses(loss, loss_weights, getattr(self, "output_names", None))
        with self._strategy_scope():
            super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
            scales_loss = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
            self._monitor = StepMonitor(scales_loss)
        self._check_replicas(scales_loss, kwargs.get("jit_compile") is True)
        self._example_losses = example_losses
        self._weights_function = None
        self._checked_kind = ""

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as the saved one was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.network.built:
            self.optimizer.build(self.network.trainable_variables)

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
            y: Training labels, where `x` is arrays.
            batch_size: Training batch size for arrays; 32 by default.
            epochs: Number of the last epoch.
            verbose: 0, 1, 2 or "auto".
            callbacks: Keras callbacks.
            validation_split: Share of arrays to hold out.
            validation_data: Data for `val_` metrics.
            shuffle: Whether to shuffle training arrays, in an order that follows from Keras's seed
                and the epoch, so that `keras.callbacks.BackupAndRestore` resumes it.
            class_weight: Weights by class of the training examples; the clean data is left alone.
            sample_weight: A weight s_i an example: w̃_i = s_i max(u_i, 0); 0 takes an example out.
            initial_epoch: Number of the first epoch.
            steps_per_epoch: Training batches an epoch.
            validation_steps: Validation batches.
            validation_batch_size: Size of the validation batches.
            validation_freq: How often to validate.
            clean_data: The trusted examples: `(x, y)` or `(x, y, sample_weight)` of arrays
                (shuffled, batched and repeated), a `tf.data.Dataset` or a PyDataset of batches
                (repeated). Weights given with it weight the mean of the clean losses.
            clean_batch_size: M, for arrays; by default the training batch size or the size of the
                clean set, whichever is smaller.
            track_examples: Whether to record what each training example is given, for
                `example_record`. True numbers the examples of arrays from 0; for a data set of
                `{"examples": (x, y[, sample_weight]), "ids": ids}`, which `number_examples` makes,
                give the number of examples. A record of as many examples goes on.

        Returns:
            Keras's history.

        Raises:
            UsageError: If the data, the loss or the network cannot be used; one sentence says why.
            TrainingDiverged: If a loss or u becomes NaN or infinite.
        """
        self._require_compiled("fit")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        if self._history is not None and checks.is_arrays(x):
            track_examples = True
        batches = pair_batches(
            x,
            y,
            sample_weight,
            clean_data,
            batch_size=batch_size,
            clean_batch_size=clean_batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
            track_examples=track_examples,
            takes_text=self._takes_text,
            strategy=self.distribute_strategy,
            # BackupAndRestore sets the first of the two when training begins.
            first_epoch=lambda: self._initial_epoch or initial_epoch,
        )
        self._check_before_training(batches.element_spec, batches.labels)
        self._open_ledger(track_examples, x)
        self._monitor.start()
        self._resuming = True
        try:
            history = super().fit(
                x=batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size or batch_size,
                validation_freq=validation_freq,
            )
        except tf.errors.InvalidArgumentError as error:
            raise sparse_label_error(error) or error from None
        finally:
            self._resuming = False
        self._look_for_faults()
        return history

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
            class_weight: Weights by class; not together with `sample_weight`.
            return_dict: Whether to return a dict instead of a list.
            clean_data: One clean batch, `(x, y)` or `(x, y, sample_weight)` of arrays.

        Returns:
            The metrics after the step, as `keras.Model.train_on_batch` returns them.

        Raises:
            UsageError: If the data, the loss or the network cannot be used.
        """
        self._require_compiled("train_on_batch")
        pair, labels = single_pair(x, y, sample_weight, clean_data, class_weight, self._takes_text)
        self._check_before_training(_spec(pair), labels)
        self.make_train_function()
        self.reset_metrics()
        pair = split_batch(self.distribute_strategy, pair)
        logs = self._get_metrics_result_or_logs(self.train_function(iter([pair])))
        logs = {name: float(np.asarray(value)) for name, value in logs.items()}
        return logs if return_dict else list(logs.values())

    def example_weights(
        self, x: Any, y: Any, sample_weight: Any = None, *, clean_data: Any
    ) -> np.ndarray:
        """Returns the weights that one training batch would get now, and changes nothing.

        Args:
            x: Inputs of one batch, first dimension N.
            y: Its labels.
            sample_weight: The user's weights of its examples, or None.
            clean_data: One clean batch, `(x, y)` or `(x, y, sample_weight)` of arrays.

        Returns:
            w of equations 6 to 9, float32, shape (N,): not negative, with sum 1, or 0 throughout.

        Raises:
            UsageError: If the data, the loss or the network cannot be used.
        """
        self._require_compiled("example_weights")
        if self._history is not None:
            raise UsageError(
                "weighting='history' weights an example by all its visits, so one batch by itself "
                "has no weights: example_record() has what fit gave each example."
            )
        pair, labels = single_pair(x, y, sample_weight, clean_data, takes_text=self._takes_text)
        self._check_before_training(_spec(pair), labels)
        if self._weights_function is None:
            self._weights_function = tf.function(
                self._weights_of_batch, autograph=False, jit_compile=self.jit_compile
            )
        return np.asarray(self._weights_function(pair), np.float32)

    def train_step(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        """One step of algorithm 1 of the paper, compiled by Keras.

        Args:
            data: `{"training": (x, y[, s]), "clean": (x, y[, s])}`, first dimensions N and M.

        Returns:
            The metrics so far, by name.
        """
        if not isinstance(data, dict):
            raise UsageError(
                "A training step needs clean data beside the training batch: train with "
                "fit(..., clean_data=...) or train_on_batch(..., clean_data=...)."
            )
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data[TRAINING])
        weight, within = split_sample_weight(sample_weight)
        self._build_network(x)
        variables = select_meta_variables(self.network, self._meta_variables)

        # v = ∇_θ (1/M) Σ_j ℓ^v_j
        clean_loss, v, clean = self._clean_pass(data[CLEAN], variables)
        # Beside it, for weights from likeness, the gradient of half of the clean batch.
        directions = [v] if clean is None else [v, clean.v_of_half]
        if self._meta_gradient == "finite_difference":
            # Before the training call, so that dropout draws the mask that the call will draw.
            alignments = [
                difference_along(
                    self.network, self._example_losses, data[TRAINING], variables, direction
                )
                for direction in directions
            ]

        # The training pass waits for v, so that the activations of the clean pass are gone by then.
        last = [v] if clean is None else [v, clean.v_of_half, clean.u]
        with tf.control_dependencies([part for part in tf.nest.flatten(last) if part is not None]):
            x = keras.tree.map_structure(lambda one: None if one is None else tf.identity(one), x)
        examples = keras.tree.flatten(y)[0]
        with tf.GradientTape(persistent=True) as tape:
            with state_kept_without_examples(self.network, examples):
                y_pred = call_for_training(self.network, x)
            losses = self._example_losses(y, y_pred, within)
            regularization = self._regularization()

        if self._meta_gradient == "nested":
            alignments = [align(tape, losses, variables, direction) for direction in directions]
        u = alignments[0]
        in_units_of_batch = None if self._ledger is None else scale(u)
        findings = None
        trainable = self.network.trainable_variables
        if clean is not None and data.get(IDS) is not None:
            parameters = sum(math.prod(variable.shape) for variable in trainable)
            findings = likeness.compare(losses, alignments[1], weight, clean)
            w = likeness.weigh(
                self._ledger.findings(data[IDS]) + findings,
                losses,
                in_units_of_batch,
                weight,
                clean,
                self._ledger.visits(data[IDS]) + 1,
                likeness.capacity(parameters, self._ledger.num_examples),
            )
        else:
            w = self._weights(u, in_units_of_batch, weight, data.get(IDS))
        # Where half precision overflowed in u alone, the optimizer has to see it too.
        w = tf.where(tf.math.is_finite(u), w, u)

        # ∇_θ (Σ_i w_i ℓ_i + regularization); w came after the tape, so it counts as constant.
        share = share_of_examples(losses)
        gradients = tape.gradient(
            [losses, regularization],
            [variable.value for variable in trainable],
            output_gradients=[
                self.optimizer.scale_loss(w),
                self.optimizer.scale_loss(tf.cast(share, regularization.dtype)),
            ],
        )
        gradients = gradients_for(self.optimizer, part_of_sum(gradients, losses))
        self.optimizer.apply_gradients(zip(gradients, trainable, strict=True))

        # Where half precision overflowed, the optimizer skips the step and lowers its loss scale.
        finite_w = tf.where(tf.math.is_finite(w), w, 0)
        if self._ledger is not None and IDS in data:
            self._ledger.update(data[IDS], in_units_of_batch, finite_w, losses, findings)

        part = tf.reduce_sum(finite_w * losses) + tf.math.multiply_no_nan(regularization, share)
        self._log_losses(sum_over_replicas(part), finite_w, share, y, y_pred)
        self._monitor.update(finite_w, clean_loss, losses, u)
        self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
        return self.logs_so_far()

    def logs_so_far(self) -> dict[str, tf.Tensor]:
        """Returns the means over the steps of the epoch so far, by name."""
        return {**self.get_metrics_result(), **self._monitor.result()}

    def met_fault(self) -> tf.Tensor:
        """Returns whether a step met NaN or infinity that ends the training, a boolean scalar."""
        return self._monitor.met_fault()

    def example_record(self) -> dict[str, np.ndarray]:
        """Returns what every training example was given since tracking began.

        Returns:
            A table by column, each of shape (number of examples,): `id`, `times_seen`,
            `mean_weight`, `mean_u` (signed; every batch's u divided by the batch's mean of |u|),
            `mean_loss`, `positive_share` (of visits with a positive weight), `last_weight`,
            `last_u` and `smoothed_u`, and with `weighting="history"` (but for its older shapes)
            `likeness`, between 0 and 1: how probable it is that the label is right, by how frequent
            such examples are among the clean ones, beside the training data; NaN also where no
            visit showed anything. NaN where an example was never seen. `pandas.DataFrame` takes
            it as it is.

        Raises:
            UsageError: If no training was tracked.
        """
        if self._ledger is None:
            raise UsageError(
                "No examples were tracked: train with fit(..., track_examples=True) first."
            )
        return self._ledger.record()

    @property
    def record_variables(self) -> list[keras.Variable]:
        """Variables of the examples' record; training depends on them beside Keras's own."""
        return [] if self._ledger is None else self._ledger.variables

    @property
    def fault_variables(self) -> list[keras.Variable]:
        """Variables by which faults are found."""
        return self._monitor.fault_variables

    @property
    def step_means_variables(self) -> list[keras.Variable]:
        """Variables of the means that `fit` logs beside Keras's own metrics."""
        return self._monitor.means_variables

    def make_train_function(self, force: bool = False) -> Any:
        """Compiles the step as Keras does, and looks from time to time whether steps went well."""
        if self.train_function is not None and not force:
            return self.train_function
        super().make_train_function(force=True)
        execute, executions = self.train_function, itertools.count(1)
        # To look, the host waits for the device; the step of a fault is known all the same.
        look_every = _GPU_LOOKS_EVERY if tf.config.list_physical_devices("GPU") else 1

        def execute_and_look(iterator: Any) -> Any:
            logs = execute(iterator)
            if next(executions) % look_every == 0:
                self._look_for_faults()
            return logs

        self.train_function = execute_and_look
        return self.train_function

    def reset_metrics(self) -> None:
        """Starts all means anew, as Keras does before every epoch."""
        super().reset_metrics()
        if self._monitor is not None:
            self._monitor.reset_means()

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "meta_variables": keras.saving.serialize_keras_object(self._meta_variables),
            "meta_gradient": self._meta_gradient,
            "weighting": "paper" if self._history is None else dataclasses.asdict(self._history),
            "tracked_examples": None if self._ledger is None else self._ledger.num_examples,
        }

    def save_own_variables(self, store: Any) -> None:
        """Puts what Keras does not save beside the network's variables, where it saves them.

        That is the record of the examples, and the states of dropout's random numbers, without
        which a resumed training would draw the first masks again.
        """
        super().save_own_variables(store)
        if self._ledger is not None:
            for name, values in self._ledger.save().items():
                store[_LEDGER + name] = values
        for name, seed in random_seeds(self.network).items():
            store[_RANDOM_SEED + name] = np.asarray(seed.value)

    def load_own_variables(self, store: Any) -> None:
        """Takes them up again; random states only where a resumed `fit` loads them."""
        saved = {key: store[key] for key in store.keys()}
        ledger, seeds = _taken_out(saved, _LEDGER), _taken_out(saved, _RANDOM_SEED)
        super().load_own_variables(saved)
        if self._ledger is not None and ledger:
            self._ledger.load(ledger)
        now = random_seeds(self.network)
        if self._resuming and seeds.keys() == now.keys():
            for name, seed in now.items():
                seed.assign(seeds[name])

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ReweightingModel:
        """Makes the model that `get_config` described."""
        config = dict(config)
        for key in ("network", "meta_variables"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)

    def _clean_pass(
        self, clean_batch: Any, variables: list[keras.Variable]
    ) -> tuple[tf.Tensor, list[tf.Tensor | None], CleanReference | None]:
        """Returns the clean loss, its gradient v and, where the weighting asks for it, more."""
        arguments = (self.network, self._example_losses, clean_batch, variables)
        if self._history is None or not self._history.is_by_likeness:
            return *clean_gradient(*arguments, self._loss_scale()), None
        clean = clean_reference(*arguments, self._loss_scale(), self._meta_gradient)
        return clean.loss, clean.v, clean

    def _weights_of_batch(self, data: dict[str, Any]) -> tf.Tensor:
        batch, clean_batch = data[TRAINING], data[CLEAN]
        weight, _ = split_sample_weight(keras.utils.unpack_x_y_sample_weight(batch)[2])
        form = get_meta_gradient(self._meta_gradient)
        variables = select_meta_variables(self.network, self._meta_variables)
        u = form(self.network, self._example_losses, batch, clean_batch, variables)
        return normalize(u, weight)

    def _regularization(self) -> tf.Tensor:
        """Weight decay and other added losses of the training call: part of the update only."""
        losses = self.network.losses
        if not losses:
            return tf.zeros((), keras.config.floatx())
        return tf.add_n([tf.cast(tf.reduce_sum(one), keras.config.floatx()) for one in losses])

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        # Keras knows its own metrics only, and would log the last step's, of each replica.
        means = {} if self._monitor is None else self._monitor.result()
        if means and means.keys() <= logs.keys():
            return {**self.get_metrics_result(), **means}
        return super()._get_metrics_result_or_logs(logs)

    def _log_losses(
        self, loss: tf.Tensor, w: tf.Tensor, share: tf.Tensor, y: Any, y_pred: Any
    ) -> None:
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(w)[0])
        if keras.tree.is_nested(y_pred):
            # Keras keeps a mean of the loss of each output, which moves when its container is
            # called; it is weighted by the number of examples.
            w = tf.math.divide_no_nan(w, share)
            self._compile_loss(y, y_pred, self._example_losses.sample_weight_for_keras(w, y_pred))

    def _build_network(self, x: Any) -> None:
        if not self.network.built:
            self.network(keras.tree.map_structure(_symbol, x))

    def _build_in_scope(self, inputs: Any, batch: Any) -> None:
        """Makes the variables, which under a strategy all have to be there before a step."""
        with self._strategy_scope():
            self._build_network(inputs)
            self.built = True
            self._check_scope()
            if self._distribute_strategy is not None:
                self._symbolic_build(data_batch=batch)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # `fit` has built everything; Keras would take a batch of the data for it.
        if not self._checked_kind:
            super()._maybe_symbolic_build(iterator, data_batch)

    def _strategy_scope(self) -> contextlib.AbstractContextManager:
        strategy = self._distribute_strategy
        return contextlib.nullcontext() if strategy is None else strategy.scope()

    def _check_scope(self) -> None:
        made_in_scope = self.distribute_strategy.extended.variable_created_in_scope
        for what, variables in (
            ("network", self.network.variables),
            ("optimizer", self.optimizer.variables),
        ):
            if not all(made_in_scope(variable.value) for variable in variables):
                raise UsageError(
                    f"The {what} was not made in the scope of the distribution strategy that the "
                    "ReweightingModel was made in: make the network, the model and the optimizer "
                    "in the same `with strategy.scope():`."
                )

    def _check_replicas(self, scales_loss: bool, jit_compile: bool) -> None:
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return
        if jit_compile:
            raise UsageError(
                "jit_compile=True cannot be used under a distribution strategy with several "
                "replicas: leave it at 'auto', which turns XLA off there."
            )
        if scales_loss and clips(self.optimizer):
            raise UsageError(
                "Clipping and float16 cannot be used together under a distribution strategy with "
                "several replicas, where Keras clips each replica's part of the gradients by "
                "itself: use mixed_bfloat16 or no clipping."
            )

    def _require_compiled(self, method: str) -> None:
        if not self.compiled:
            raise UsageError(
                f"Call model.compile(optimizer=..., loss=...) before model.{method}(...)."
            )

    def _check_before_training(self, spec: Any, labels: dict[str, Any]) -> None:
        """What can be known to be wrong before the first step: network, loss and labels."""
        if self._checked_kind != str(spec):
            inputs, outputs, _ = keras.utils.unpack_x_y_sample_weight(spec[TRAINING])
            self._build_in_scope(inputs, spec[TRAINING])
            select_meta_variables(self.network, self._meta_variables)
            tf.function(self._trace_losses, autograph=False).get_concrete_function(
                *keras.tree.map_structure(self._with_unlikely_batch_size, (inputs, outputs))
            )
            self._checked_kind = str(spec)
        for what, values in labels.items():
            if values is not None:
                self._example_losses.check_labels(values, what)

    def _trace_losses(self, inputs: Any, labels: Any) -> None:
        self._example_losses.trace(labels, observed_call(self.network, inputs))

    def _with_unlikely_batch_size(self, spec: Any) -> Any:
        network_inputs = keras.tree.flatten(getattr(self.network, "inputs", None) or [])
        is_fixed = any(one.shape[0] is not None for one in network_inputs)
        kinds = (tf.TensorSpec, tf.SparseTensorSpec)
        if is_fixed or not isinstance(spec, kinds) or not spec.shape.rank:
            return spec
        return type(spec)([_UNLIKELY_BATCH_SIZE, *spec.shape[1:]], spec.dtype)

    @property
    def _takes_text(self) -> bool:
        inputs = keras.tree.flatten(getattr(self.network, "inputs", None) or [])
        return any(one.dtype == "string" for one in inputs)

    def _loss_scale(self) -> tf.Tensor | None:
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            return self.optimizer.scale_loss(tf.ones((), keras.config.floatx()))
        return None

    def _look_for_faults(self) -> None:
        self._monitor.check(self.optimizer)
        if self._ledger is not None:
            self._ledger.check_ids()

    def _weights(
        self,
        u: tf.Tensor,
        in_units_of_batch: tf.Tensor | None,
        sample_weight: tf.Tensor | None,
        ids: tf.Tensor | None,
    ) -> tf.Tensor:
        if self._history is None:
            return normalize(u, sample_weight)
        if ids is None:
            raise UsageError(
                "weighting='history' has to know which examples are in a batch: train with "
                "fit(...) on arrays, or on a data set whose elements carry ids "
                "(l2rw_tf.number_examples) with track_examples=NUMBER_OF_EXAMPLES."
            )
        s, visits = self._ledger.smoothed(ids, in_units_of_batch)
        return self._history(tf.cast(s, u.dtype), visits, sample_weight)

    def _new_ledger(self, size: int) -> Ledger:
        if self._history is None:
            return Ledger(size)
        return Ledger(size, self._history.smoothing, self._history.is_by_likeness)

    def _open_ledger(self, track_examples: bool | int, x: Any) -> None:
        if track_examples is False:
            return
        size = track_examples
        if size is True:
            if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
                raise UsageError(
                    "track_examples must be the number of training examples where the training "
                    "data is a data set, got True."
                )
            size = len(keras.tree.flatten(x)[0])
        if self._ledger is None or self._ledger.num_examples != size:
            with self._strategy_scope():
                self._ledger = self._new_ledger(size)
            # The step that was traced before writes to another ledger, or to none.
            self.train_function = None


def _taken_out(saved: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Takes the arrays whose names begin so out of what was saved; returns them without that."""
    names = [name for name in saved if name.startswith(prefix)]
    return {name.removeprefix(prefix): saved.pop(name) for name in names}


def _symbol(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, dtype=keras.backend.standardize_dtype(spec.dtype))


def _spec(pair: Any) -> Any:
    return keras.tree.map_structure(tf.type_spec_from_value, pair)
