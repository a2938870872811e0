"""How the method of the paper derives its weights."""

from __future__ import annotations

import dataclasses
import functools

from l2rw_tf.command_line.settings import Settings, setting
from l2rw_tf.reweighting.weighting import WEIGHTINGS

_method = functools.partial(setting, group="Method")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodSettings(Settings):
    """What methods have to choose; those that do not reweight ignore it."""

    meta_variables: str = _method(
        "all",
        "The variables that the weights are derived through: all; last_block: from the last "
        "residual block on; head: those of the last layer alone. Fewer are cheaper.",
        choices=("all", "last_block", "head"),
    )
    weighting: str = _method(
        "paper",
        "From the meta-gradient to example weights: "
        + "; ".join(f"{name}: {summary}" for name, summary in WEIGHTINGS.items())
        + ".",
        choices=tuple(WEIGHTINGS),
    )
    meta_gradient: str = _method(
        "nested",
        "nested: exact, by nested gradient tapes; forward: exact, with less memory, but not for "
        "networks with loops (recurrent layers); finite_difference: for networks with operations "
        "that have no second derivative.",
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
