"""SNIP: pruning before training, by what the loss would lose with each weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.finders.evidence import Evidence, check_batches
from tombola.finders.finder import Finder, Pruned, finder
from tombola.finders.shapes import prune_once
from tombola.ticket.structures import STRUCTURES

if TYPE_CHECKING:
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask

__all__ = ["SnipSpec", "snip"]


@dataclass(frozen=True, kw_only=True)
class SnipSpec(PruneSpec):
    """SNIP: how much is pruned, and from how many batches its gradient is taken."""

    batches: int = 1
    """Training batches whose gradients are averaged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batches < 1:
            raise SpecError(f"batches is one or more, got {self.batches}.")


def prune_before_training(
    finder: Finder, subject: "Subject", spec: PruneSpec, seed: int
) -> "Search":
    """`prune_once`, by batches that a training on the subject has."""
    assert isinstance(spec, SnipSpec)
    check_batches(spec.batches, subject.steps)
    return prune_once(finder, subject, spec, seed)


@finder("snip", SnipSpec, plan=prune_before_training, label="SNIP")
def snip(evidence: Evidence, spec: SnipSpec, mask: "Mask") -> Pruned:
    """Prune weights by |w dL/dw| before training (Lee et al. 2019)."""
    gradients = evidence.gradients(spec.batches)
    scores = {name: (w * gradients[name]).abs() for name, w in evidence.weights.items()}
    return Pruned(STRUCTURES[spec.structure](scores, mask, spec.sparsity, evidence.heads))
