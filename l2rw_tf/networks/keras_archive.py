"""Reads the description of the network in a .keras file, which is an archive, without Keras."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

_DESCRIPTION = "config.json"
_PREPROCESSING = ("Rescaling", "Normalization")
# Operations by which the model.keras of a table replaces missing numbers with the mean.
_FILLING = ("Isnan", "Where")


def mistake(path: str) -> str:
    """Returns what is wrong with a file as the network of a run; empty if nothing is found.

    Args:
        path: The file.
    """
    try:
        description = _description(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}."
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return "it is not a file that Keras 3 saved by model.save('NAME.keras')."
    if any(part.get("class_name") == "Lambda" for part in _parts(description)):
        return (
            "it has a Lambda layer, which is code in a file and is not run; write the network as a "
            "function of input_shape and num_classes and give package.module:function instead."
        )
    return ""


def takes_raw_inputs(path: str) -> bool:
    """Returns whether a network takes inputs as they are in the data set.

    This is so if its inputs have an integer type, or go through Rescaling or Normalization first,
    as in the model.keras of a run.

    Args:
        path: The file.
    """
    layers = _description(path)["config"].get("layers", [])
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    if inputs and "int" in str(inputs[0]["config"].get("dtype", "")):
        return True
    others = [layer["class_name"] for layer in layers if layer not in inputs]
    first = next((name for name in others if name not in _FILLING), "")
    return first in _PREPROCESSING


def _description(path: str) -> dict[str, Any]:
    with zipfile.ZipFile(os.path.expanduser(path)) as archive:
        description = json.loads(archive.read(_DESCRIPTION))
    if not isinstance(description["config"], dict):
        raise ValueError
    return description


def _parts(description: Any) -> Iterator[dict[str, Any]]:
    """Yields every object of a description, at any depth."""
    if isinstance(description, dict):
        yield description
        description = list(description.values())
    if isinstance(description, list):
        for part in description:
            yield from _parts(part)
