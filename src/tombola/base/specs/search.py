"""Knobs of a search for a ticket."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from tombola.base.errors import SpecError
from tombola.base.fields import refuse_above
from tombola.base.keys import exact
from tombola.base.registry import unknown
from tombola.base.specs.spec import STEPS, Spec, check_distinct

__all__ = ["CONTROLS", "OPTIONAL_CONTROLS", "SCOPES", "TUNE", "FindSpec", "ImpSpec"]

CONTROLS = ("random", "layer-random", "one-shot", "reinit", "shuffle")
"""What a ticket is compared with at its own sparsity, in addition to the dense network."""

OPTIONAL_CONTROLS = ("random-init", "shuffle-layers", "small-dense")
"""What it is compared with as well, where it is asked for by name."""

SCOPES = ("encoder", "encoder+pooler")
"""Which weights may be pruned: the matrices of the repeated blocks, and the pooler's."""

TUNE = "tune"
"""What may stand for the learning rate of a search: the best of three on dev."""


@dataclass(frozen=True, kw_only=True)
class ImpSpec(Spec):
    """Iterative magnitude pruning: how fast weights go, and what the others go back to."""

    sparsity: Decimal = Decimal("0.7")
    """Fraction of the scope that is zero in the end, in [0, 1)."""

    schedule: str = "linear"
    """How sparsity grows: linear removes a share of the whole a round, geometric of the rest."""

    step: Decimal = Decimal("0.1")
    """The share that each round removes, in (0, 1)."""

    rounds: tuple[Decimal, ...] = ()
    """Sparsity after each round, the last one final, outright instead of schedule and step."""

    rewind_step: int = 0
    """Rewind weights, head and learning rate to this optimizer step; 0 is before training."""

    rewind_fraction: Decimal = Decimal(0)
    """Rewind to the step after this fraction of a training, in [0, 1), instead of a number."""

    no_rewind: bool = False
    """Never rewind: each round trains the weights of the last one further (standard pruning)."""

    keep_head: bool = False
    """Rewind the encoder only: the task head is trained further from round to round."""

    long_horizon: bool = False
    """Decay the learning rate over all rounds together, beginning at its peak in each of them."""

    prune_first: bool = False
    """Take the first mask from the pre-trained magnitudes, before any training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = self.sparsity is not ImpSpec.sparsity  # 0.7 may be asked for, too
        for name in ("sparsity", "step", "rewind_fraction"):
            object.__setattr__(self, name, exact(getattr(self, name), name))
        if self.rounds:
            self._follow_rounds(asked)
        if not self.sparsity:
            raise SpecError("sparsity is above 0 in a search, got 0. For 70 % write 0.7.")
        refuse_above(self.rewind_step, STEPS, "rewind_step")
        if self.rewind_step < 0:
            raise SpecError(f"rewind_step is zero or more, got {self.rewind_step}.")
        if self.rewind_step and self.rewind_fraction:
            raise SpecError(
                f"rewind_step and rewind_fraction are two ways to name one step, got "
                f"{self.rewind_step} and {self.rewind_fraction}. Leave one out."
            )
        for name in ("rewind_step", "rewind_fraction", "keep_head"):
            if self.no_rewind and getattr(self, name):
                raise SpecError(
                    f"no_rewind trains all weights further, and {name} says what to rewind, "
                    f"got both. Leave one out."
                )

    def _follow_rounds(self, asked: bool) -> None:
        """Refuse rounds that don't rise or that another knob contradicts; the last is the end."""
        rounds = tuple(exact(each, "each of the rounds") for each in self.rounds)
        listed = ", ".join(f"{each:f}" for each in rounds)
        if any(now <= before for before, now in pairwise((Decimal(0), *rounds))):
            raise SpecError(f"rounds are sparsities that rise from above 0, got {listed}.")
        for name in ("schedule", "step"):
            if getattr(self, name) != getattr(ImpSpec, name):
                raise SpecError(
                    f"rounds give every sparsity outright, got {listed} and {name} "
                    f"{getattr(self, name)}. Leave one out."
                )
        if asked and self.sparsity != rounds[-1]:
            raise SpecError(
                f"the last of the rounds is the final sparsity, got rounds {listed} and sparsity "
                f"{self.sparsity:f}. Leave sparsity out."
            )
        object.__setattr__(self, "rounds", rounds)
        object.__setattr__(self, "sparsity", rounds[-1])


@dataclass(frozen=True, kw_only=True)
class FindSpec(ImpSpec):
    """A search: iterative magnitude pruning of one network on one task, and its controls."""

    model: str = "mini"
    """The embedded model, a folder that save_pretrained() wrote, or a hub id."""

    task: str = "sentiment"
    """The task that the ticket is found on; `tombola tasks` lists them."""

    scope: str = "encoder"
    """The weights that may be pruned: encoder, or encoder+pooler."""

    seeds: tuple[int, ...] = (0,)
    """One complete search each, with its own head, data order and mask."""

    controls: tuple[str, ...] = CONTROLS
    """Networks compared at the final sparsity: random, layer-random, one-shot, reinit, shuffle;
    and where named random-init, shuffle-layers, small-dense."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in SCOPES:
            raise unknown("scope", self.scope, SCOPES)
        check_distinct(self.seeds)
        for control in self.controls:
            if control not in CONTROLS + OPTIONAL_CONTROLS:
                raise unknown("control", control, (*CONTROLS, *OPTIONAL_CONTROLS, "none"))
