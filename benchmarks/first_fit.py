"""The time of the first `fit`, on two batches, compared with plain Keras.

`python -m benchmarks.first_fit` prints a Markdown table; each time is measured in a separate
process, `python -m benchmarks.first_fit NETWORK METHOD`.
"""

from __future__ import annotations

import subprocess
import sys
import time

NETWORKS = ("mlp", "resnet32", "transformer", "python loop")
METHODS = ("plain", "reweighted")
BATCH = 50


def main() -> None:
    """Prints the table."""
    print("| network | plain s | reweighted s | times | CPU s, plain | CPU s, reweighted | times |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in NETWORKS:
        (plain, plain_cpu), (own, own_cpu) = (_in_a_process(name, method) for method in METHODS)
        print(
            f"| {name} | {plain:.1f} | {own:.1f} | {own / plain:.1f} | {plain_cpu:.1f} | "
            f"{own_cpu:.1f} | {own_cpu / plain_cpu:.1f} |",
            flush=True,
        )


def _in_a_process(name: str, method: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.first_fit", name, method]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def first_fit(name: str, method: str) -> None:
    """Calls `fit` once and prints its wall time and processor time in seconds."""
    import keras
    import numpy as np

    import l2rw_tf

    network, shape = _network(name)
    random = np.random.default_rng(0)
    x = random.normal(size=(2 * BATCH, *shape)).astype("float32")
    y = random.integers(0, 10, 2 * BATCH)
    model = l2rw_tf.ReweightingModel(network) if method == "reweighted" else network
    clean = {"clean_data": (x[:BATCH], y[:BATCH])} if method == "reweighted" else {}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(x, y, batch_size=BATCH, verbose=0, **clean)
    print(time.perf_counter() - wall, time.process_time() - cpu)


def _network(name: str) -> tuple[object, tuple[int, ...]]:
    import keras
    import tensorflow as tf

    from benchmarks.keras_steps import build

    if name != "python loop":
        return build(name)

    class PythonLoop(keras.Model):
        """Processes the examples of a batch one by one."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = keras.layers.Dense(64, "relu"), keras.layers.Dense(10)

        def call(self, x: tf.Tensor) -> tf.Tensor:
            rows = [self.out(self.hidden(x[i : i + 1])) for i in range(BATCH)]
            return tf.concat(rows, axis=0)

    return PythonLoop(), (100,)


if __name__ == "__main__":
    first_fit(*sys.argv[1:]) if sys.argv[1:] else main()
