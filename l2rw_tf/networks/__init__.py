"""Networks by name, for any input size and number of classes: the paper's, and users' own.

To add a network, add a file here with a function `build`, and a line in `FAMILIES`. Keras is
imported only when a network is built, so that a mistyped name is reported at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from l2rw_tf.errors import UsageError
from l2rw_tf.networks import keras_archive

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Family:
    """The networks that one file builds, distinguished by parts of their names.

    Attributes:
        pattern: Regular expression of the names; its groups are the parts, which are the first
            arguments of `build`, as numbers if possible.
        names: The names, as text for messages.
        mistake: Takes the parts, and returns what is wrong with them; empty if nothing is.
        takes_tables: Whether inputs may be rows of a table as well as images.
        takes_raw_inputs: Takes the parts, and returns whether the network expects inputs as they
            are in the data set instead of standardized ones.
        is_users: Whether the network consists of layers that are not this package's.
        has_backbone: Whether `build` also takes `network_weights` and `freeze_backbone`.
    """

    pattern: str
    names: str
    mistake: Callable[..., str] = lambda *parts: ""
    takes_tables: bool = False
    takes_raw_inputs: Callable[..., bool] = lambda *parts: False
    is_users: bool = False
    has_backbone: bool = False


def _mistake_of_depth(of: str, smallest: int, depth: int) -> str:
    if depth >= smallest and depth % 6 == smallest % 6:
        return ""
    depths = ", ".join(str(smallest + 6 * n) for n in range(4))
    return f"the depth of {of} is 6n+{smallest % 6} ({depths}, ...), got {depth}."


def _mistake_of_wide_resnet(depth: int, width: int) -> str:
    if width < 1:
        return f"the width of a wide ResNet must be at least 1, got {width}."
    return _mistake_of_depth("a wide ResNet", 10, depth)


# By the file that builds them.
FAMILIES = {
    "lenet": Family("lenet", "lenet"),
    "mlp": Family("mlp", "mlp", takes_tables=True),
    "resnet": Family(
        r"resnet(\d+)",
        "resnet8, resnet20, resnet32 (any depth 6n+2)",
        lambda depth: _mistake_of_depth("a ResNet", 8, depth),
    ),
    "wide_resnet": Family(
        r"wrn(\d+)_(\d+)", "wrn28_10 (wrnD_K, D = 6n+4)", _mistake_of_wide_resnet
    ),
    "keras_applications": Family(
        r"keras\.applications:(\w+)",
        "keras.applications:NAME",
        takes_raw_inputs=lambda name: True,
        is_users=True,
        has_backbone=True,
    ),
    "keras_file": Family(
        r"(.+\.keras)",
        "FILE.keras",
        keras_archive.mistake,
        takes_tables=True,
        takes_raw_inputs=keras_archive.takes_raw_inputs,
        is_users=True,
    ),
    "function": Family(
        r"(\w+(?:\.\w+)*):(\w+)", "package.module:function", takes_tables=True, is_users=True
    ),
}


def names_help() -> str:
    """Returns the names that `get` knows, as text for messages and the help of a flag."""
    return ", ".join(family.names for family in FAMILIES.values())


def family_of(name: str) -> Family:
    """Returns the family of a network by its name, as `get` takes it; raises as `find` does."""
    return FAMILIES[find(name)[0]]


def takes_raw_inputs(name: str) -> bool:
    """Returns whether a network expects inputs as they are in the data set.

    Args:
        name: The name, as `get` takes it.

    Raises:
        UsageError: If there is no such network.
    """
    file, parts = find(name)
    return FAMILIES[file].takes_raw_inputs(*parts)


def get(
    name: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    weight_decay: float = 0.0,
    dropout: float | None = None,
    seed: int | None = None,
    sync_batch_norm: bool = False,
    network_weights: str = "",
    freeze_backbone: bool = False,
) -> keras.Model:
    """Builds a network by its name.

    Args:
        name: `"lenet"`, `"mlp"`, `"resnet32"` (any depth 6n+2), `"wrn28_10"` (any depth 6n+4, any
            width); `"keras.applications:NAME"`, a .keras file, or `"package.module:function"`.
        input_shape: (height, width, channels) of an image, or (features,) of a row of a table;
            a table goes with `"mlp"`, a file or a function.
        num_classes: Number of logits.
        weight_decay: The papers' λ in the penalty λ · ½‖θ‖² on the kernels of convolutions and
            dense layers, that is Keras's `L2(λ/2)`; in users' networks on all trainable kernels
            without a regularizer.
        dropout: Fraction of units dropped in training; None takes the network's own, 0.3 for a wide
            ResNet as in the paper and 0 for the others. A ResNet has none, and files and functions
            have their own.
        seed: Seed of the initial weights and dropout; None uses Keras's global seed
            (`keras.utils.set_random_seed`), as users' networks always do.
        sync_batch_norm: Whether batch normalization under a distribution strategy uses the whole
            batch instead of a replica's part; users' networks are not changed.
        network_weights: For keras.applications: `"imagenet"` (also if empty), `"none"`, or a file.
        freeze_backbone: For keras.applications: whether to train the head only.

    Returns:
        A functional model from float32 (batch, *input_shape) to logits (batch, num_classes).

    Raises:
        UsageError: If the name is unknown, or an argument does not fit the network.
    """
    file, parts = find(name)
    input_shape = tuple(int(size) for size in input_shape)
    family = FAMILIES[file]
    if not family.takes_tables and len(input_shape) != 3:
        raise UsageError(
            f"network {name!r} takes images (height, width, channels), but the inputs have the "
            f"shape {input_shape}; network 'mlp' takes rows of a table."
        )
    if min(input_shape, default=0) < 1:
        raise UsageError(f"input_shape must have sizes of at least 1, got {input_shape}.")
    if num_classes < 2:
        raise UsageError(f"num_classes must be at least 2, got {num_classes}.")

    # These import Keras.
    from l2rw_tf.networks.weights import Weights

    of_backbone = {"network_weights": network_weights, "freeze_backbone": freeze_backbone}
    return importlib.import_module(f"{__name__}.{file}").build(
        *parts,
        input_shape=input_shape,
        num_classes=num_classes,
        weights=Weights(weight_decay, seed, sync_batch_norm),
        dropout=dropout,
        **(of_backbone if family.has_backbone else {}),
    )


def find(name: str) -> tuple[str, list[int | str]]:
    """Returns the file that builds a network, and the parts of its name, without importing Keras.

    Raises:
        UsageError: If there is no such network; lists the possible names.
    """
    for file, family in FAMILIES.items():
        if match := re.fullmatch(family.pattern, name):
            parts = [int(part) if part.isdecimal() else part for part in match.groups()]
            if mistake := family.mistake(*parts):
                raise UsageError(f"network {name!r}: {mistake}")
            return file, parts
    raise UsageError(f"network {name!r} is not known; possible are {names_help()}.")
