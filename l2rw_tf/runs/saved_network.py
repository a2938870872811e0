"""Saves the network of a run as a model of raw inputs, with the class names of its outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras

from l2rw_tf.data.examples import Source
from l2rw_tf.data.preprocessing import Preprocessing
from l2rw_tf.errors import UsageError
from l2rw_tf.runs.run_directory import RunDirectory

MODEL = "model.keras"
# The network of plain training, in a run that has both.
PLAIN = "plain.keras"
CLASSES = "classes.json"


def save(
    directory: RunDirectory,
    trained: Mapping[str, keras.Model],
    preprocessing: Preprocessing,
    source: Source,
) -> None:
    """Writes networks and, beside them, classes.json.

    Args:
        directory: The run's directory.
        trained: The trained networks by file name, `MODEL` and `PLAIN`.
        preprocessing: The preprocessing of their inputs.
        source: The data set.

    Raises:
        OSError: If a file cannot be written.
    """
    for name, network in trained.items():
        directory.save_network(name, on_raw_inputs(network, preprocessing, source))
    directory.write_json(CLASSES, list(source.class_names))


def check(network: keras.Model, name: str, preprocessing: Preprocessing, source: Source) -> None:
    """Checks, before hours of training, that a network can be saved.

    Args:
        network: The untrained network.
        name: Its name in --network.
        preprocessing: The preprocessing of its inputs.
        source: The data set.

    Raises:
        UsageError: If Keras cannot save the network.
    """
    with tempfile.TemporaryDirectory(prefix="l2rw-") as temporary:
        try:
            on_raw_inputs(network, preprocessing, source).save(Path(temporary) / MODEL)
        except OSError:
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UsageError(
                f"network {name!r} cannot be saved by Keras: {reason[:300]} Custom layers "
                "need get_config."
            ) from error


def on_raw_inputs(
    network: keras.Model, preprocessing: Preprocessing, source: Source
) -> keras.Model:
    """Returns a model that takes inputs as they are in the data set.

    The model consists of Keras operations and layers around the network, which is its last layer
    but one. It shares the network's variables and has no others.

    Args:
        network: A network from standardized inputs to logits.
        preprocessing: Standardizes the inputs.
        source: The data set.

    Returns:
        A model from uint8 images (batch, height, width, channels), or float32 rows of a table
        (batch, features), to probabilities float32 (batch, classes).
    """
    dtype = "uint8" if source.kind == "image" else "float32"
    inputs = keras.Input(source.input_shape, dtype=dtype)
    logits = network(preprocessing.in_keras(inputs))
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name=f"{network.name}_on_raw_inputs")
