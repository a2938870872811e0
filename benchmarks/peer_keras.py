"""The step in Keras, the project's or a plain one, as the peers are asked for theirs.

`python -m benchmarks.peer_keras NETWORK FORM CLEAN_BATCH START`; FORM is a kind of
`keras_steps.Variant`. Writes START, parameters and batches that the peers read, if there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import l2rw_tf
from benchmarks import keras_steps
from benchmarks.peer_process import serve

# Of the training, and the largest clean batch.
BATCH = 100


class Steps:
    """Steps on one batch, by SGD with momentum."""

    def __init__(self, network: str, form: str, clean: int, start: Path) -> None:
        variant = keras_steps.Variant(form, clean)
        self._model, self._data = keras_steps.model_and_data(network, BATCH, variant)
        self.take = keras_steps.steps_of(self._model, self._data)
        self.network = getattr(self._model, "network", self._model)
        if not start.exists():
            write_start(self.network, start)

    def check(self) -> Sequence[float]:
        """Returns u by nested tapes, also where the step takes another way to it."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        x, y = next(iter(self._data["x"]))
        if "clean_data" not in self._data:
            # Without a change of moving averages.
            variables = self.network.trainable_variables, self.network.non_trainable_variables
            logits, _ = self.network.stateless_call(*variables, x, training=True)
            return loss.call(y, logits).numpy()
        clean_batch = next(iter(self._data["clean_data"]))
        return l2rw_tf.meta_gradient(self.network, loss, (x, y), clean_batch).numpy()

    def gpu_bytes(self) -> int | None:
        if tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return None


def write_start(network: keras.Model, file: Path) -> None:
    """Writes parameters and batches; a smaller clean batch is the beginning of the largest."""
    shape = network.input_shape[1:]
    arrays = {f"parameter{i}": one.numpy() for i, one in enumerate(network.trainable_variables)}
    for i, name in enumerate(("", "_clean")):
        x, y = next(iter(keras_steps.one_batch(BATCH, shape, True, seed=i)))
        arrays |= {f"x{name}": x.numpy(), f"y{name}": y.numpy().astype(np.int64)}
    np.savez(file, **arrays)


if __name__ == "__main__":
    name, form, clean, start = sys.argv[1:]
    serve(Steps(name, form, int(clean), Path(start)))
