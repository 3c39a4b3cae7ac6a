"""Knobs of the training of one fixed ticket, to test it or to keep the network."""

from dataclasses import dataclass

from tombola.base.errors import SpecError, brief
from tombola.base.registry import unknown
from tombola.base.specs.search import SCOPE_NAMES
from tombola.base.specs.spec import Spec, check_distinct

__all__ = ["INIT_NAMES", "EvaluateSpec", "FixedTicketSpec", "TrainTicketSpec"]

INIT_NAMES = ("pretrained", "reinit", "shuffle", "shuffle-layers", "signs")
"""What the weights that a ticket keeps can start from: the names of `ticket.init.INITS`."""


@dataclass(frozen=True, kw_only=True)
class FixedTicketSpec(Spec):
    """The training of one fixed ticket on a task."""

    task: str = ""
    """The task to train on; by default the one that the ticket was found on."""

    init: str = "pretrained"
    """What the kept weights start from: pretrained, reinit, shuffle, shuffle-layers or signs."""

    scope: str = ""
    """The part of the ticket's scope that is pruned: encoder leaves out the pooler of a ticket that
    covers it; by default all that the ticket covers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in INIT_NAMES:
            raise unknown("initialisation", self.init, INIT_NAMES)
        if self.scope and self.scope not in SCOPE_NAMES:
            raise unknown("scope", self.scope, SCOPE_NAMES)


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec(FixedTicketSpec):
    """A test of one fixed ticket on a task, with fresh seeds."""

    seeds: tuple[int, ...] = (100,)
    """Seeds of the trainings, none of them the seed of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.seeds)


@dataclass(frozen=True, kw_only=True)
class TrainTicketSpec(FixedTicketSpec):
    """The training of one fixed ticket whose network is kept."""

    seed: int = 100
    """Seed of the training: of head, data order and dropout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise SpecError(f"seed must be an integer of 0 or more, got {brief(self.seed)}.")
