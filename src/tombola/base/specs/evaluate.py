"""Knobs of a test of one fixed ticket."""

from dataclasses import dataclass

from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec, check_distinct

__all__ = ["INITS", "EvaluateSpec"]

INITS = ("pretrained", "reinit", "shuffle", "shuffle-layers")
"""What the weights that a ticket keeps can start from."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec(Spec):
    """A test of one fixed ticket on a task, with fresh seeds."""

    task: str = ""
    """The task to train on; by default the one that the ticket was found on."""

    init: str = "pretrained"
    """What the kept weights start from: pretrained, reinit, shuffle or shuffle-layers."""

    seeds: tuple[int, ...] = (100,)
    """Seeds of the trainings, none of them the seed of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.seeds)
        if self.init not in INITS:
            raise unknown("initialisation", self.init, INITS)
