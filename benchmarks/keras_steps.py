"""Training steps, compiled as `fit` does: plain Keras, reweighted, and the literal look-ahead."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

import l2rw_tf
from benchmarks.timing import Take
from l2rw_tf import networks
from l2rw_tf.reweighting.feeding.batches import CLEAN, EXAMPLES, IDS, ROWS, TRAINING
from l2rw_tf.reweighting.passes import call_for_training
from tests.reweighting.look_ahead import look_ahead

JIT_COMPILE = {"auto": "auto", "true": True, "false": False}
NUM_CLASSES = 10
TRACKED_EXAMPLES = 60_000
# A backbone of keras.applications with a new head; trained as a whole, or with a frozen backbone.
PRETRAINED = {"mobilenetv2": (224, 224, 3), "mobilenetv2_frozen": (224, 224, 3)}
_SHAPES = {"lenet": (28, 28, 1), "mlp": (100,), "transformer": (64, 64), **PRETRAINED}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of the training step.

    Attributes:
        kind: "plain", "literal" (the literal look-ahead of the paper), "exact" (the
            project's default), "forward" (exact, in forward mode), "last_block",
            "head", "tracked" (exact, with the record of the examples) or "everyK" (exact in every
            K-th step; to be timed by multiples of K).
        clean: Size of the clean batch, 0 for plain.
        size_known: Whether the graph knows the batch sizes. It does if `fit` gets arrays whose
            length is a multiple of the batch size, but not if the last batch is smaller.
    """

    kind: str
    clean: int
    size_known: bool = True

    @property
    def reweight_every(self) -> int:
        """The argument of the model."""
        return int(self.kind.removeprefix("every")) if self.kind.startswith("every") else 1

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Parses KIND or KIND:CLEAN_BATCH; a "?" at the end means unknown batch sizes."""
        kind, _, clean = text.removesuffix("?").partition(":")
        return cls(kind, int(clean or 0), not text.endswith("?"))

    def __str__(self) -> str:
        names = {
            "plain": "plain",
            "literal": "literal look-ahead",
            "tracked": "exact, tracked",
        }
        words = [names.get(self.kind, self.kind)]
        if self.clean:
            words.append(f"clean {self.clean}")
        if not self.size_known:
            words.append("sizes unknown")
        return ", ".join(words)


def build(name: str) -> tuple[keras.Model, tuple[int, ...]]:
    """Returns a network with reproducible parameters, and the shape of an example.

    Args:
        name: The name of a network, or NAME@SIZE for colour images of another size than 32.
    """
    keras.utils.set_random_seed(0)
    name, _, size = name.partition("@")
    side = int(size or 32)
    shape = _SHAPES.get(name, (side, side, 3))
    if name == "transformer":
        return _transformer(shape), shape
    if name in PRETRAINED:
        # Random weights take as much memory as pretrained ones.
        network = networks.get(
            "keras.applications:MobileNetV2",
            input_shape=shape,
            num_classes=NUM_CLASSES,
            network_weights="none",
            freeze_backbone=name == "mobilenetv2_frozen",
        )
        return network, shape
    return networks.get(name, input_shape=shape, num_classes=NUM_CLASSES), shape


def _transformer(shape: tuple[int, int]) -> keras.Model:
    """Two blocks of four heads over sequences of 64 positions with 64 features."""
    inputs = x = keras.Input(shape)
    for _ in range(2):
        x = keras.layers.LayerNormalization()(x + keras.layers.MultiHeadAttention(4, 16)(x, x))
        hidden = keras.layers.Dense(128, "gelu")(x)
        x = keras.layers.LayerNormalization()(x + keras.layers.Dense(shape[-1])(hidden))
    pooled = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(NUM_CLASSES)(pooled))


class LiteralModel(l2rw_tf.ReweightingModel):
    """The literal step of the paper: a look-ahead, then another forward pass for the update."""

    def train_step(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        x, y = data[TRAINING]
        trainable = self.network.trainable_variables
        u = look_ahead(self.network, self._example_losses, data[TRAINING], data[CLEAN])
        with tf.GradientTape() as tape:
            y_pred = call_for_training(self.network, x)
            losses = self._example_losses(y, y_pred)
            loss = tf.reduce_sum(l2rw_tf.normalize(u) * losses)
        gradients = tape.gradient(loss, [variable.value for variable in trainable])
        self.optimizer.apply_gradients(zip(gradients, trainable, strict=True))
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(x, y, y_pred)


def model_and_data(
    name: str, batch: int, variant: Variant, jit_compile: str = "auto", steps_per_execution: int = 1
) -> tuple[keras.Model, dict[str, Any]]:
    """Returns a compiled model and the arguments of `fit`: one batch, repeated.

    Args:
        name: The name of the network.
        batch: Size of the training batch.
        variant: The variant of the step.
        jit_compile: "auto", "true" or "false".
        steps_per_execution: As in Keras.
    """
    network, shape = build(name)
    data = {"x": one_batch(batch, shape, variant.size_known, seed=0)}
    model = network
    if variant.kind != "plain":
        model = _reweighting_model(network, variant)
        data["clean_data"] = one_batch(variant.clean, shape, variant.size_known, seed=1)
    if variant.kind == "tracked" or variant.reweight_every > 1:
        ids = tf.random.stateless_uniform([batch], (2, 0), 0, TRACKED_EXAMPLES, tf.int64)
        ids = tf.data.Dataset.from_tensors(ids).unbatch().batch(batch, variant.size_known).repeat()
        data["x"] = tf.data.Dataset.zip({EXAMPLES: data["x"], IDS: ids})
        data["track_examples"] = TRACKED_EXAMPLES
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=JIT_COMPILE[jit_compile],
        steps_per_execution=steps_per_execution,
    )
    return model, data


def one_batch(size: int, shape: tuple[int, ...], size_known: bool, seed: int) -> tf.data.Dataset:
    """Returns a data set that repeats one batch; a smaller batch is the beginning of a larger."""
    x = tf.random.stateless_normal((size, *shape), (seed, 0))
    y = tf.random.stateless_uniform((size,), (seed, 1), 0, NUM_CLASSES, tf.int32)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size, size_known).cache().repeat()


def _reweighting_model(network: keras.Model, variant: Variant) -> l2rw_tf.ReweightingModel:
    if variant.kind == "literal":
        return LiteralModel(network)
    return l2rw_tf.ReweightingModel(
        network,
        variant.kind if variant.kind in ("last_block", "head") else "all",
        meta_gradient="forward" if variant.kind == "forward" else "nested",
        reweight_every=variant.reweight_every,
    )


def keras_step(
    name: str, batch: int, variant: Variant, jit_compile: str = "auto", steps_per_execution: int = 1
) -> Take:
    """Returns a function that takes steps: the first by `fit`, others by Keras's `train_function`.

    Args:
        name: The name of the network.
        batch: Size of the training batch.
        variant: The variant of the step.
        jit_compile: "auto", "true" or "false".
        steps_per_execution: As in Keras; the number of steps is rounded up to a multiple of it.
    """
    return steps_of(
        *model_and_data(name, batch, variant, jit_compile, steps_per_execution), steps_per_execution
    )


def steps_of(model: keras.Model, data: dict[str, Any], steps_per_execution: int = 1) -> Take:
    """Returns what `keras_step` does, for the result of `model_and_data`."""
    batches = iter(_joined(data))
    fitted = False

    def take(steps: int) -> None:
        nonlocal fitted
        if not fitted:
            model.fit(**data, steps_per_epoch=steps_per_execution, shuffle=False, verbose=0)
            fitted = True
            return
        for _ in range(-(-steps // steps_per_execution)):
            logs = model.train_function(batches)
        logs["loss"].numpy()

    return take


def _joined(data: dict[str, tf.data.Dataset]) -> tf.data.Dataset:
    """Returns the joined data set that `fit` makes of its arguments."""
    training, clean = data["x"], data.get("clean_data")
    if clean is None:
        return training
    if not isinstance(training.element_spec, dict):
        return tf.data.Dataset.zip({TRAINING: training, CLEAN: clean})
    return tf.data.Dataset.zip((training, clean)).map(
        lambda tracked, clean: {TRAINING: tracked[EXAMPLES], CLEAN: clean, ROWS: tracked[IDS]}
    )
