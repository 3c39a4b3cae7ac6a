"""Knobs of a search for a ticket."""

import os
from dataclasses import dataclass
from math import inf

from tombola.base.errors import SpecError, brief
from tombola.base.fields import refuse_above
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec, check_distinct, refuse_repeated

__all__ = [
    "DEFAULT_CONTROLS",
    "OPTIONAL_CONTROLS",
    "SCOPE_NAMES",
    "TUNE",
    "FindSpec",
    "check_budget",
]

DEFAULT_CONTROLS = ("random", "layer-random", "one-shot", "reinit", "shuffle")
"""What a ticket is compared with at its own sparsity, in addition to the dense network."""

OPTIONAL_CONTROLS = (
    *("random-init", "shuffle-layers", "small-dense"),
    *("permuted-mask", "signs"),
)
"""Controls that are trained only if they are named; with the others, the names of
`plan.controls.CONTROLS`."""

NONE = "none"
"""In place of controls, trains none."""

SCOPE_NAMES = ("encoder", "encoder+pooler")
"""Which weights may be pruned, the matrices of the repeated blocks, and the pooler's: the names of
`ticket.scope.SCOPES`."""

TRAININGS = 10_000
"""The largest budget."""

TUNE = "tune"
"""In place of a learning rate, takes the best of three on dev."""


@dataclass(frozen=True, kw_only=True)
class FindSpec(Spec):
    """A search for a ticket of one network on one task, and its controls."""

    finder: str = "imp"
    """Method that finds the ticket; `tombola finders` lists them."""

    model: str = "mini"
    """The network: an embedded model, a folder that save_pretrained() wrote, or a hub id."""

    task: str = "sentiment"
    """The task that the ticket is found on; `tombola tasks` lists them."""

    scope: str = "encoder"
    """The weights that may be pruned: encoder, or encoder+pooler."""

    seeds: tuple[int, ...] = (0,)
    """Seeds, each of a complete search with its own head, data order and mask."""

    budget: float = 0.0
    """Length of the search for a ticket, in trainings' worth of steps, not counting the ticket's
    own training; 0 keeps the finder's own length."""

    controls: tuple[str, ...] = DEFAULT_CONTROLS
    """What the ticket is compared with at its final sparsity, or none; random-init, shuffle-layers,
    small-dense, permuted-mask and signs are trained only if they are named."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in SCOPE_NAMES:
            raise unknown("scope", self.scope, SCOPE_NAMES)
        check_distinct(self.seeds)
        object.__setattr__(self, "model", os.path.expanduser(self.model))
        object.__setattr__(self, "budget", float(self.budget))
        check_budget(self.budget)
        if self.controls == (NONE,):
            object.__setattr__(self, "controls", ())
        for control in self.controls:
            if control == NONE:
                raise SpecError(
                    f"controls must be names, or {NONE} alone, got {brief(self.controls)}. Leave "
                    f"{NONE} out, or the others."
                )
            if control not in DEFAULT_CONTROLS + OPTIONAL_CONTROLS:
                raise unknown("control", control, (*DEFAULT_CONTROLS, *OPTIONAL_CONTROLS, NONE))
        refuse_repeated("controls", self.controls)


def check_budget(budget: float) -> None:
    """Refuse a budget that is not a number of trainings, or is above the limit.

    Raises: SpecError.
    """
    if not 0 <= budget < inf:
        raise SpecError(f"budget must be 0 or more trainings, got {budget:g}.")
    refuse_above(budget, TRAININGS, "budget")
