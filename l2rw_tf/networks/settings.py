"""Which network a run trains."""

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
    """The network and what it is regularized by."""

    network: str = _network(
        AUTO,
        f"{networks.names_help()}; auto: resnet20 for images, mlp for tables. "
        "keras.applications:NAME, such as MobileNetV2, is for images and gets a new head; its own "
        "preprocessing is in the network, and grey images become three equal channels. FILE.keras "
        "is a network that Keras saved; no code in it is run, and Lambda layers are refused. "
        "package.module:function is imported (from the working directory too) and called with "
        "input_shape and num_classes, and returns a keras.Model: a flagfile that names one runs "
        "its code. Files and functions end in one logit per class, or in a softmax, which is taken "
        "off; what the last layer gives otherwise is taken for logits.",
        is_common=True,
    )
    network_inputs: str = _network(
        AUTO,
        "What the network receives: inputs standardized by the figures of the training set, or raw "
        "ones, as they are in the data set (images from 0 to 255). auto: raw for "
        "keras.applications and for a FILE.keras whose inputs are integers or that begins with "
        "Rescaling or Normalization, as a run's model.keras does; standardized for all others. The "
        "border of --augment is of the mean colour if they are standardized and black if raw.",
        choices=(AUTO, STANDARDIZED, RAW),
    )
    network_weights: str = _network(
        "",
        "Weights that keras.applications:NAME begins with: imagenet, none (random ones), or a file "
        "of weights without the head. Empty: imagenet, downloaded once.",
    )
    freeze_backbone: bool = _network(False, "Trains only the new head of keras.applications:NAME.")
    dropout: float | None = _network(
        None,
        "Fraction of units dropped. Default: the network's own. keras.applications:NAME has it "
        "before its head; FILE.keras and functions have what is in their layers, and take none.",
        at_least=0,
        below=1,
    )
    weight_decay: float = _network(
        2e-4,
        "Weight decay on half the squared norm of the kernels (of keras.applications, files and "
        "functions: of those that are trained and have no regularizer of their own); with "
        "--optimizer=adamw AdamW's own.",
        at_least=0,
    )

    def check_together(self) -> None:
        """Checks the network's name, and that it has a use for what else was given."""
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
                "which is no file."
            )

    @property
    def receives_raw_inputs(self) -> bool:
        """Whether the network is given inputs as they are in the data set."""
        if self.network_inputs == AUTO:
            return self.network != AUTO and networks.takes_raw_inputs(self.network)
        return self.network_inputs == RAW
