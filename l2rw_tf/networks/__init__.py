"""The networks of the paper's experiments, by name, for any input size and number of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from l2rw_tf.errors import UsageError

if TYPE_CHECKING:
    import keras

__all__ = ["get", "names_help", "validate_name"]

_RESNET = re.compile(r"resnet(\d+)")
_WIDE_RESNET = re.compile(r"wrn(\d+)_(\d+)")


def names_help() -> str:
    """Returns the names that `get` knows, in words, for messages and for the help of a flag."""
    return "lenet, mlp, resnet8, resnet20, resnet32 (any depth 6n+2), wrn28_10 (wrnD_K, D = 6n+4)"


def validate_name(name: str) -> None:
    """Checks a network's name without importing Keras.

    Args:
        name: The name, as `get` takes it.

    Raises:
        UsageError: There is no such network; the sentence lists those that there are.
    """
    if name in ("lenet", "mlp"):
        return
    resnet, wide = _RESNET.fullmatch(name), _WIDE_RESNET.fullmatch(name)
    if resnet:
        depth = int(resnet[1])
        if depth < 8 or depth % 6 != 2:
            raise UsageError(
                f"network {name!r}: the depth of a ResNet is 6n+2 (8, 14, 20, 26, 32, ...), "
                f"got {depth}."
            )
    elif wide:
        depth, width = int(wide[1]), int(wide[2])
        if depth < 10 or depth % 6 != 4:
            raise UsageError(
                f"network {name!r}: the depth of a wide ResNet is 6n+4 (10, 16, 22, 28, ...), "
                f"got {depth}."
            )
        if width < 1:
            raise UsageError(
                f"network {name!r}: the width of a wide ResNet must be at least 1, got {width}."
            )
    else:
        raise UsageError(f"network {name!r} is not known; possible are {names_help()}.")


def get(
    name: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    weight_decay: float = 0.0,
    dropout: float | None = None,
    seed: int | None = None,
    sync_batch_norm: bool = False,
) -> keras.Model:
    """Builds a network by its name.

    Args:
        name: `"lenet"`, `"mlp"`, `"resnet32"` (any depth 6n+2), `"wrn28_10"` (any depth 6n+4, any
            width).
        input_shape: (height, width, channels) of an image, or (features,) of a row of a table;
            a table goes with `"mlp"` only.
        num_classes: Number of logits.
        weight_decay: The papers' λ in the penalty λ · ½‖θ‖² on the kernels of convolutions and
            dense layers, that is Keras's `L2(λ/2)`.
        dropout: Share of units dropped in training; None takes the network's own, 0.3 for a wide
            ResNet as in the paper and 0 for the others. A ResNet has none.
        seed: Makes the initial weights and dropout reproducible by themselves; with None they
            come from Keras's global seed (`keras.utils.set_random_seed`).
        sync_batch_norm: Under a distribution strategy, normalizes by the whole batch and not by the
            part of it that a replica has.

    Returns:
        A functional model from float32 (batch, *input_shape) to logits (batch, num_classes).

    Raises:
        UsageError: An unknown name, or an argument that does not fit the network.
    """
    validate_name(name)
    input_shape = tuple(int(size) for size in input_shape)
    if name != "mlp" and len(input_shape) != 3:
        raise UsageError(
            f"network {name!r} takes images (height, width, channels), but the inputs have the "
            f"shape {input_shape}; network 'mlp' takes rows of a table."
        )
    if min(input_shape, default=0) < 1:
        raise UsageError(f"input_shape must have sizes of at least 1, got {input_shape}.")
    if num_classes < 2:
        raise UsageError(f"num_classes must be at least 2, got {num_classes}.")
    if not weight_decay >= 0:
        raise UsageError(f"weight_decay must be at least 0, got {weight_decay}.")
    if dropout is not None and not 0 <= dropout < 1:
        raise UsageError(f"dropout must lie between 0 and 1 (1 excluded), got {dropout}.")

    from l2rw_tf.networks import lenet, mlp, resnet, wide_resnet
    from l2rw_tf.networks.weights import Weights

    weights = Weights(weight_decay, seed, sync_batch_norm)
    if name == "lenet":
        return lenet.lenet(input_shape, num_classes, weights, dropout or 0.0)
    if name == "mlp":
        return mlp.mlp(input_shape, num_classes, weights, dropout or 0.0)
    if match := _RESNET.fullmatch(name):
        if dropout:
            raise UsageError(f"network {name!r} has no dropout; set dropout to 0, got {dropout}.")
        return resnet.resnet(int(match[1]), input_shape, num_classes, weights)
    match = _WIDE_RESNET.fullmatch(name)
    rate = 0.3 if dropout is None else dropout
    return wide_resnet.wide_resnet(
        int(match[1]), int(match[2]), input_shape, num_classes, weights, rate
    )
