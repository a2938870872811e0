"""Which network a run trains."""

from __future__ import annotations

import dataclasses

from l2rw_tf import networks
from l2rw_tf.command_line.settings import Settings, setting

AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """The network and what it is regularized by."""

    network: str = setting(
        AUTO,
        f"{networks.names_help()}; auto: resnet20 for images, mlp for tables.",
        group="Network",
    )
    dropout: float | None = setting(
        None,
        "Fraction of units dropped. Default: the network's own.",
        group="Network",
        at_least=0,
        below=1,
    )
    weight_decay: float = setting(
        2e-4,
        "Weight decay on half the squared norm of the kernels; with --optimizer=adamw AdamW's own.",
        group="Network",
        at_least=0,
    )

    def check_together(self) -> None:
        """Checks the network's name."""
        if self.network != AUTO:
            networks.find(self.network)
