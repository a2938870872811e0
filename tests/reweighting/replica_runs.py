"""Trainings on one device and on several, run in a separate process.

`python -m tests.reweighting.replica_runs OUT.npz DEVICES CASE [CASE ...]`, DEVICES being a number
of logical CPU devices, or `workers`, whose TF_CONFIG names them. OUT gets `one/CASE/...` and
`several/CASE/...`, and under `mistakes/` what a mistake is told, where there are two devices.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import l2rw_tf

STEPS = 50
# With batches of 16, 35 examples leave one of 3 at the end of an epoch, so that one replica of four
# has nothing; so do the clean batches of 3.
CASES = {
    "exact, smaller last batch": {"meta_variables": "all", "examples": 35},
    "forward, smaller last batch": {
        "meta_variables": "all",
        "examples": 35,
        "meta_gradient": "forward",
        # Synchronized over replicas, it has a gradient of its own.
        "normalization": False,
    },
    "head, smaller last batch": {"meta_variables": "head", "examples": 35},
    "every third step": {"meta_variables": "head", "examples": 35, "reweight_every": 3},
    "meta-weight-net": {
        "meta_variables": "head",
        "examples": 35,
        "weighting": "meta_weight_net",
    },
}


def main(out: str, devices: str, *cases: str) -> None:
    strategy = _strategy(devices)
    found = {}
    for case in cases:
        for name, where in (("one", None), ("several", strategy)):
            for what, value in _train(where, **CASES[case]).items():
                found[f"{name}/{case}/{what}"] = value
    if devices == "2":
        found |= {f"mistakes/{name}": text for name, text in _mistakes(strategy).items()}
    np.savez(out, **found)


def _strategy(devices: str) -> tf.distribute.Strategy:
    if devices == "workers":
        return tf.distribute.MultiWorkerMirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * int(devices)
    tf.config.set_logical_device_configuration(cpu, logical)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(devices))])


def _scope(strategy: tf.distribute.Strategy | None) -> contextlib.AbstractContextManager:
    return strategy.scope() if strategy else contextlib.nullcontext()


def _train(
    strategy: tf.distribute.Strategy | None,
    examples: int,
    normalization: bool = True,
    **arguments: str,
) -> dict[str, np.ndarray]:
    keras.utils.set_random_seed(1)
    with _scope(strategy):
        model = l2rw_tf.ReweightingModel(_network(normalization), **arguments)
        model.compile(
            keras.optimizers.SGD(0.02, momentum=0.9, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    training = l2rw_tf.number_examples(tf.data.Dataset.from_tensor_slices(_data(examples, 0)))
    weights = []
    last = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: weights.append(model.example_record()["last_weight"])
    )
    history = model.fit(
        training.batch(16).repeat(),
        clean_data=tf.data.Dataset.from_tensor_slices(_data(6, 1)).batch(3),
        validation_data=_data(11, 2),
        validation_batch_size=4,
        epochs=2,
        steps_per_epoch=STEPS // 2,
        track_examples=examples,
        callbacks=[last],
        verbose=0,
    )
    variables = {f"variable {i}": v.numpy() for i, v in enumerate(model.network.variables)}
    record = {f"record {name}": column for name, column in model.example_record().items()}
    logs = {f"log {name}": np.array(values) for name, values in history.history.items()}
    return {"weights": np.array(weights), **variables, **record, **logs}


def _mistakes(strategy: tf.distribute.Strategy) -> dict[str, str]:
    """What is said when a model is made, compiled or fed in a way that cannot work."""
    x, y = _data(8, 0)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)

    def said(network_scope: Any, optimizer_scope: Any, data: Any, **arguments: Any) -> str:
        with _scope(network_scope):
            network = _network()
        with _scope(strategy):
            model = l2rw_tf.ReweightingModel(network)
        with _scope(optimizer_scope):
            optimizer = keras.optimizers.SGD(0.1)
        try:
            model.compile(optimizer, "sparse_categorical_crossentropy", **arguments)
            model.fit(data, clean_data=(x, y), verbose=0)
        except l2rw_tf.UsageError as error:
            return str(error)
        return ""

    distributed = strategy.experimental_distribute_dataset(batches)
    return {
        "network outside": said(None, strategy, batches),
        "optimizer outside": said(strategy, None, batches),
        "jit_compile": said(strategy, strategy, batches, jit_compile=True),
        "distributed data": said(strategy, strategy, distributed),
    }


def _network(normalization: bool = True) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.01)),
            *([keras.layers.BatchNormalization(synchronized=True)] if normalization else []),
            keras.layers.Dense(3),
        ]
    )


def _data(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, size)
    return (np.eye(4)[y] + random.normal(size=(size, 4))).astype("float32"), y


if __name__ == "__main__":
    main(*sys.argv[1:])
