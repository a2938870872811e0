"""Settings of the network."""

from __future__ import annotations

import dataclasses
import functools
import os

from l2rw_tf import networks
from l2rw_tf.command_line.settings import Settings, setting
from l2rw_tf.errors import UsageError

AUTO, RAW, STANDARDIZED = "auto", "raw", "standardized"

_network = functools.partial(setting, group="Network")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network and its regularization."""

    network: str = _network(
        AUTO,
        f"{networks.names_help()}; auto: resnet20 for images, mlp for tables. "
        "keras.applications:NAME, such as MobileNetV2, is for images and gets a new head; its own "
        "preprocessing is in the network, and grey images become three equal channels. FILE.keras "
        "is a network that Keras saved; no code in it is run, and Lambda layers are refused. "
        "package.module:function is imported (from the working directory too) and called with "
        "input_shape and num_classes, and returns a keras.Model: a flagfile that names one runs "
        "its code. Networks of files and functions end in one logit per class, or in a softmax, "
        "which is removed; any other output counts as logits.",
        is_common=True,
    )
    network_inputs: str = _network(
        AUTO,
        "Inputs of the network: standardized by the statistics of the training set, or raw, as "
        "they are in the data set (images from 0 to 255). auto: raw for keras.applications and for "
        "a FILE.keras whose inputs are integers or that begins with Rescaling or Normalization, as "
        "a run's model.keras does; standardized for all others. The border of --augment has the "
        "mean colour for standardized inputs and is black for raw ones.",
        choices=(AUTO, STANDARDIZED, RAW),
    )
    network_weights: str = _network(
        "",
        "Initial weights of keras.applications:NAME: imagenet, none (random weights), or a file of "
        "weights without the head. Empty: imagenet, downloaded once.",
    )
    freeze_backbone: bool = _network(False, "Trains only the new head of keras.applications:NAME.")
    dropout: float | None = _network(
        None,
        "Fraction of units dropped. Default: the network's own. keras.applications:NAME drops "
        "units before its head; FILE.keras and functions have their own layers and take none.",
        at_least=0,
        below=1,
    )
    weight_decay: float = _network(
        2e-4,
        "Factor of half the squared norm of the kernels in the loss (for keras.applications, files "
        "and functions: of trainable kernels without a regularizer); with --optimizer=adamw, the "
        "weight decay of AdamW.",
        at_least=0,
    )

    def check_together(self) -> None:
        """Checks the network's name, and that the other settings apply to it."""
        has_backbone = False
        if self.network != AUTO:
            has_backbone = networks.family_of(self.network).has_backbone
        if (self.network_weights or self.freeze_backbone) and not has_backbone:
            name = "network_weights" if self.network_weights else "freeze_backbone"
            raise UsageError(
                f"{name} is for network=keras.applications:NAME, got network={self.network}."
            )
        if self.network_weights not in ("", "imagenet", "none") and not os.path.isfile(
            os.path.expanduser(self.network_weights)
        ):
            raise UsageError(
                f"network_weights must be imagenet, none or a file, got {self.network_weights!r}, "
                "which is not a file."
            )

    @property
    def receives_raw_inputs(self) -> bool:
        """Whether the network's inputs are as they are in the data set."""
        if self.network_inputs == AUTO:
            return self.network != AUTO and networks.takes_raw_inputs(self.network)
        return self.network_inputs == RAW
