"""Iterative magnitude pruning."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.finders.allocations import keep_best
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.rewind import RewindSpec, prune_and_rewind
from tombola.finders.scores import magnitude

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["ImpSpec", "imp"]


@dataclass(frozen=True, kw_only=True)
class ImpSpec(RewindSpec):
    """Iterative magnitude pruning: how fast weights are pruned, and what the others go back to."""


@finder(
    "imp",
    ImpSpec,
    plan=prune_and_rewind,
    scores="magnitude",
    label="IMP",
    source="Frankle & Carbin 2019",
)
def imp(evidence: Evidence, spec: ImpSpec, mask: "Mask") -> Pruned:
    """Train, prune the smallest weights, rewind the others, again."""
    scores = magnitude(evidence.weights)
    return Pruned(keep_best(scores, mask, spec, evidence.layout))
