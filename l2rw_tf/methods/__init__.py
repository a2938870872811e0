"""The methods that a run can train with: each a composition of a few parts.

The parts themselves, with their equations and constants: `reweighting/` (the paper's method and
weights), `losses.py`, `noise_adaptation.py`, and the sampling in `data/pipeline.py`. TensorFlow is
not imported here before a part is used, so that the settings can list the names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from l2rw_tf.data.prepared_data import PreparedData
    from l2rw_tf.runs.config import RunConfig

    # From a step (scalar int64) and its labels (batch,) to sample weights (batch,) float32.
    SampleWeights = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


# Where none are named.
_META_VARIABLES = {"paper": "all", "history": "head"}


def _bare_network(network: keras.Model, config: RunConfig, data: PreparedData) -> keras.Model:
    from l2rw_tf.reweighting.replicas import DistributedFunctional

    # Compiled itself, the network would be saved with this package's loss in its file.
    return DistributedFunctional(network.input, network.output)


def _reweighting(network: keras.Model, config: RunConfig, data: PreparedData) -> keras.Model:
    from l2rw_tf import ReweightingModel

    return ReweightingModel(
        network,
        meta_variables=config.meta_variables or _META_VARIABLES[config.weighting],
        meta_gradient=config.meta_gradient,
        weighting=config.weighting,
    )


def _noise_adaptation(network: keras.Model, config: RunConfig, data: PreparedData) -> keras.Model:
    from l2rw_tf.methods import noise_adaptation

    start = noise_adaptation.uniform_start(data.source.num_classes)
    return noise_adaptation.adapted(network, start)


def _noise_adaptation_from_confusion(
    network: keras.Model, config: RunConfig, data: PreparedData
) -> keras.Model:
    from l2rw_tf.data import pipeline
    from l2rw_tf.methods import noise_adaptation

    batches = pipeline.evaluation_batches(data.splits.train, data.preprocessing, batch_size=500)
    start = noise_adaptation.confusion_start(network, batches)
    return noise_adaptation.adapted(network, start)


def _cross_entropy(data: PreparedData) -> keras.losses.Loss:
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _soft_bootstrapping(data: PreparedData) -> keras.losses.Loss:
    from l2rw_tf.methods import losses

    return losses.Bootstrapping("soft", losses.REED_SOFT_BETA)


def _hard_bootstrapping(data: PreparedData) -> keras.losses.Loss:
    from l2rw_tf.methods import losses

    return losses.Bootstrapping("hard", losses.REED_HARD_BETA)


def _generalized_cross_entropy(data: PreparedData) -> keras.losses.Loss:
    from l2rw_tf.methods import losses

    return losses.GeneralizedCrossEntropy()


def _hard_mining(data: PreparedData) -> keras.losses.Loss:
    from l2rw_tf.methods import losses

    counts = data.training_class_counts
    return losses.HardMining(counts.index(max(counts)), data.source.num_classes)


def _random_weights(config: RunConfig, data: PreparedData) -> SampleWeights:
    import tensorflow as tf

    from l2rw_tf.data.randomness import Stream, tensorflow_seed
    from l2rw_tf.reweighting.weights import random_weights

    seed = tensorflow_seed(config.seed, Stream.RANDOM_WEIGHTS)

    def weigh(step: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        # Keras divides the weighted sum of losses by the size of the batch.
        size = tf.shape(y)[0]
        return tf.cast(size, tf.float32) * random_weights(size, tf.random.fold_in(seed, step))

    return weigh


def _inverse_frequency(config: RunConfig, data: PreparedData) -> SampleWeights:
    from l2rw_tf.reweighting.weights import class_weights

    return _by_class(class_weights(data.training_class_counts))


def _true_class_sizes(config: RunConfig, data: PreparedData) -> SampleWeights:
    import numpy as np

    from l2rw_tf.reweighting.weights import class_weights

    true_y = data.splits.train.true_y
    if true_y is None:
        raise UsageError(
            "method weighted needs to know the true labels, which are known only where noise_type "
            "makes wrong ones, got noise_type=none; proportion needs the given labels alone."
        )
    true_counts = np.bincount(true_y, minlength=data.source.num_classes)
    return _by_class(class_weights(data.training_class_counts, true_counts))


def _by_class(weights: object) -> SampleWeights:
    import tensorflow as tf

    return lambda step, y: tf.gather(weights, y)


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is trained: what differs from plain training.

    Attributes:
        title: What tables and figures call it.
        summary: What it does, for `--help`.
        model: Makes of the network the model whose `fit` trains it; both share their variables, and
            what the model predicts outside of training is what the network predicts.
        loss: Makes the loss, from logits.
        sample_weights: Makes the function that weights the examples of a batch, or None.
        sampling: How `training_batches` draws examples.
        part: Which part of the data is trained on: "train" or "clean".
        uses_clean_data: Whether `fit` is given the clean data beside the training data.
        first: The method that trains the network in the first half of the epochs, or None.
    """

    title: str
    summary: str
    model: Callable[[keras.Model, RunConfig, PreparedData], keras.Model] = _bare_network
    loss: Callable[[PreparedData], keras.losses.Loss] = _cross_entropy
    sample_weights: Callable[[RunConfig, PreparedData], SampleWeights] | None = None
    sampling: str = "shuffled"
    part: str = "train"
    uses_clean_data: bool = False
    first: str | None = None


METHODS = {
    "l2rw": Method(
        "reweighted",
        "examples are reweighted by the clean data (Ren et al. 2018)",
        model=_reweighting,
        uses_clean_data=True,
    ),
    "plain": Method("plain", "ordinary training"),
    "random": Method(
        "random weights",
        "rectified Gaussian weights, drawn anew for each batch",
        sample_weights=_random_weights,
    ),
    "proportion": Method(
        "proportion",
        "classes weighted by their inverse frequency",
        sample_weights=_inverse_frequency,
    ),
    "resample": Method(
        "resampling", "class-balanced batches, drawn with repetition", sampling="balanced"
    ),
    "hard_mining": Method(
        "hard mining",
        "of the largest class only the hardest examples of a batch, as many as others have",
        loss=_hard_mining,
    ),
    "reed_soft": Method(
        "bootstrapping, soft",
        "5 % of the target is the prediction (Reed et al. 2014)",
        loss=_soft_bootstrapping,
    ),
    "reed_hard": Method(
        "bootstrapping, hard",
        "20 % of the target is the class predicted (Reed et al. 2014)",
        loss=_hard_bootstrapping,
    ),
    "s_model": Method(
        "S-model",
        "a noise adaptation layer on top (Goldberger and Ben-Reuven 2017)",
        model=_noise_adaptation,
    ),
    "s_model_conf": Method(
        "S-model + confusion",
        "the same after half of the epochs trained plainly, started from their confusion matrix",
        model=_noise_adaptation_from_confusion,
        first="plain",
    ),
    "weighted": Method(
        "weighted (oracle)",
        "classes weighted by their true size over that of the labels given, which an oracle knows",
        sample_weights=_true_class_sizes,
    ),
    "clean_only": Method("clean only", "ordinary training on the clean data alone", part="clean"),
    "gce": Method(
        "generalized cross-entropy",
        "a loss between cross-entropy and absolute error (Zhang and Sabuncu 2018)",
        loss=_generalized_cross_entropy,
    ),
}
