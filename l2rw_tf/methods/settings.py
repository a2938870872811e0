"""Settings of the paper's method."""

from __future__ import annotations

import dataclasses
import functools

from l2rw_tf.command_line.settings import Settings, setting
from l2rw_tf.reweighting.weighting import WEIGHTINGS

_method = functools.partial(setting, group="Method")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodSettings(Settings):
    """Settings of reweighting; methods that do not reweight ignore them."""

    meta_variables: str = _method(
        "all",
        "Variables that the meta-gradient is computed for: all; last_block: from the last residual "
        "block on; head: only those of the last layer. Fewer are cheaper.",
        choices=("all", "last_block", "head"),
    )
    weighting: str = _method(
        "paper",
        "How the meta-gradient becomes example weights: "
        + "; ".join(f"{name}: {summary}" for name, summary in WEIGHTINGS.items())
        + ".",
        choices=tuple(WEIGHTINGS),
    )
    meta_gradient: str = _method(
        "nested",
        "How the meta-gradient is computed: nested: exact, with nested gradient tapes; forward: "
        "exact, needs less memory, but does not support loops (recurrent layers); "
        "finite_difference: for networks with operations that have no second derivative.",
        choices=("nested", "forward", "finite_difference"),
    )
    reweight_every: int = _method(
        1,
        "Steps per computation of weights: with 4, three of four steps cost a plain step and use "
        "the weights of each example's last visit.",
        at_least=1,
    )
    clean_batch_size: int | None = _method(
        None,
        "Clean examples per step. Default: --batch_size, or all of them if there are fewer.",
        at_least=1,
    )
