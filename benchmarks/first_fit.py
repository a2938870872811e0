"""The time of the first `fit`, and of later ones, compared with plain Keras.

`python -m benchmarks.first_fit` prints Markdown tables: the first `fit`, on two batches, each time
measured in a separate process, `python -m benchmarks.first_fit NETWORK METHOD`; and later calls on
one batch, which show the fixed cost of a `fit`.
"""

from __future__ import annotations

import statistics
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
    print("\n| later fit, one batch | plain s | reweighted s | difference |")
    print("|---|--:|--:|--:|")
    for data in ("arrays", "data set"):
        plain, own = (later_fit(data, method) for method in METHODS)
        print(f"| mlp, {data} | {plain:.3f} | {own:.3f} | {own - plain:.3f} |", flush=True)


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


def later_fit(data: str, method: str) -> float:
    """Returns the median time in seconds of calls of `fit` on one batch, after two others."""
    import keras
    import numpy as np
    import tensorflow as tf

    import l2rw_tf

    network, shape = _network("mlp")
    x, y = np.ones((BATCH, *shape), "float32"), np.arange(BATCH) % 10
    training: tuple = (x, y)
    clean: object = training
    if data == "data set":
        clean = tf.data.Dataset.from_tensor_slices(training).batch(BATCH)
        training = (clean,)
    model = l2rw_tf.ReweightingModel(network) if method == "reweighted" else network
    options: dict[str, object] = {"clean_data": clean} if method == "reweighted" else {}
    if data == "arrays":
        options["batch_size"] = BATCH
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seconds = []
    for _ in range(11):
        begin = time.perf_counter()
        model.fit(*training, verbose=0, shuffle=data == "arrays", **options)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[2:])


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
