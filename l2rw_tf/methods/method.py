"""What a method is made of, with the parts of plain training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.keras_internals import DistributedFunctional

# From a step (scalar int64) and its labels (batch,) to sample weights (batch,) float32. Keras
# divides the weighted sum of a batch's losses by its size.
SampleWeights = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def bare_network(network: keras.Model, settings: MethodSettings, data: PreparedData) -> keras.Model:
    """Returns a model that is the network alone, and shares its variables."""
    # Compiled itself, the network would be saved with this package's loss in its file.
    return DistributedFunctional(network.input, network.output)


def cross_entropy(data: PreparedData) -> keras.losses.Loss:
    """Returns the cross-entropy."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained: what differs from plain training.

    Attributes:
        model: Makes of the network the model whose `fit` trains it; both share their variables, and
            what the model predicts outside of training is what the network predicts.
        loss: Makes the loss, from logits.
        sample_weights: Makes, from the run's seed and the data, the function that weights the
            examples of a batch; or None.
        sampling: How `training_batches` draws examples.
        part: Which part of the data is trained on: "train", "clean", or "both": the training
            examples and, after them, the clean ones.
        marks_rows: Whether `fit` is given, where sample weights stand, which examples a batch has:
            their positions in that part, (batch,) int64.
        uses_clean_data: Whether `fit` is given the clean data beside the training data.
        first: The method that trains the network in the first half of the epochs, or None.
    """

    model: Callable[[keras.Model, MethodSettings, PreparedData], keras.Model] = bare_network
    loss: Callable[[PreparedData], keras.losses.Loss] = cross_entropy
    sample_weights: Callable[[int, PreparedData], SampleWeights] | None = None
    sampling: str = "shuffled"
    part: str = "train"
    marks_rows: bool = False
    uses_clean_data: bool = False
    first: str | None = None


def at_labels(values: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns of each row (batch, classes) the value at its label, (batch,)."""
    return tf.gather(values, tf.cast(tf.reshape(labels, [-1]), tf.int64), batch_dims=1)
