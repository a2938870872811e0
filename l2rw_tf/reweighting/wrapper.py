"""The base class of Keras models that wrap a network to train it with another step."""

from __future__ import annotations

from typing import Any

import keras

from l2rw_tf.reweighting.feeding.own_preprocessing import preprocess
from l2rw_tf.reweighting.keras_internals import DistributedFit, is_validation, own_metrics
from l2rw_tf.reweighting.passes import call_for_training


class NetworkWrapper(DistributedFit, keras.Model):
    """A model with the outputs of the network that it wraps.

    Attributes:
        network: The wrapped network.
    """

    network: keras.Model

    def call(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns the network's outputs.

        Args:
            inputs: The network's inputs.
            training: Whether layers such as dropout run as in training.
            **kwargs: Further arguments of the network.
        """
        if training:
            return call_for_training(self.network, inputs)
        return self.network(inputs, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates the network; takes the arguments of `keras.Model.evaluate`."""
        if not is_validation(kwargs):
            x, y, sample_weight = preprocess(self.network, x, y, sample_weight)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predicts with the network; takes the arguments of `keras.Model.predict`."""
        return super().predict(preprocess(self.network, x)[0], *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Evaluates one batch; takes the arguments of `keras.Model.test_on_batch`."""
        return super().test_on_batch(*preprocess(self.network, x, y, sample_weight), **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts one batch as `keras.Model.predict_on_batch` does."""
        return super().predict_on_batch(preprocess(self.network, x)[0])

    def predict_step(self, data: Any) -> Any:
        """Predicts one batch as the network does."""
        return self.network.predict_step(data)

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

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of this model, and those that the network itself holds and updates."""
        return [*super().metrics, *own_metrics(self.network)]

    @property
    def layers(self) -> list[keras.Layer]:
        """The network only: the model's other layers are training state."""
        return [self.network]

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        """Exports the network; takes the arguments of `keras.Model.export`."""
        return self.network.export(filepath, *args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as the saved one was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.network.built:
            self.optimizer.build(self.network.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {"name": self.name, "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> NetworkWrapper:
        """Creates a model from the result of `get_config`."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)
                for name, part in config.items()
            }
        )
