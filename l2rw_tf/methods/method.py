"""The parts of a method; the defaults are those of plain training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from l2rw_tf.data.prepared_data import PreparedData
from l2rw_tf.methods.settings import MethodSettings
from l2rw_tf.reweighting.keras_internals import DistributedFunctional

# Maps a step (scalar int64) and its labels (batch,) to sample weights (batch,) float32. Keras
# divides the weighted sum of a batch's losses by the batch size.
SampleWeights = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def bare_network(network: keras.Model, settings: MethodSettings, data: PreparedData) -> keras.Model:
    """Returns a model with the network's inputs, outputs and variables."""
    # If the network itself were compiled, its file would contain this package's loss.
    return DistributedFunctional(network.input, network.output)


def cross_entropy(data: PreparedData) -> keras.losses.Loss:
    """Returns the cross-entropy."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained: the differences from plain training.

    Attributes:
        model: Wraps the network in the model whose `fit` trains it. Both share their variables, and
            outside training the model predicts what the network predicts.
        loss: Creates the loss, which takes logits.
        sample_weights: Creates, from the run's seed and the data, the function that weights the
            examples of a batch; or None.
        sampling: How `training_batches` draws examples.
        part: The part of the data to train on: "train", "clean", or "both": the training examples
            followed by the clean ones.
        marks_rows: Whether `fit` gets, as sample weights, the positions of a batch's examples in
            that part, (batch,) int64.
        uses_clean_data: Whether `fit` gets `clean_data`.
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
    """Returns the value of each row (batch, classes) at its label, (batch,)."""
    return tf.gather(values, tf.cast(tf.reshape(labels, [-1]), tf.int64), batch_dims=1)
