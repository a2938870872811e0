"""Which network a run trains."""

from __future__ import annotations

import dataclasses
import functools

from l2rw_tf import networks
from l2rw_tf.command_line.settings import Settings, setting

AUTO = "auto"

_network = functools.partial(setting, group="Network")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network and what it is regularized by."""

    network: str = _network(
        AUTO,
        f"{networks.names_help()}; auto: resnet20 for images, mlp for tables.",
    )
    dropout: float | None = _network(
        None,
        "Fraction of units dropped. Default: the network's own.",
        at_least=0,
        below=1,
    )
    weight_decay: float = _network(
        2e-4,
        "Weight decay on half the squared norm of the kernels; with --optimizer=adamw AdamW's own.",
        at_least=0,
    )

    def check_together(self) -> None:
        """Checks the network's name."""
        if self.network != AUTO:
            networks.find(self.network)
