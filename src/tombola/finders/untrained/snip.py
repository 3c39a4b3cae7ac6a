"""SNIP: pruning before training, by how much the loss would change without each weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.finders.allocations import keep_best
from tombola.finders.data_knobs import BatchesSpec, prune_from_batches
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["SnipSpec", "snip"]


@dataclass(frozen=True, kw_only=True)
class SnipSpec(BatchesSpec):
    """SNIP: how much is pruned, and from how many batches its gradient is taken."""

    batches: int = 1
    """Training batches whose gradients are averaged."""


@finder("snip", SnipSpec, plan=prune_from_batches, label="SNIP", source="Lee et al. 2019")
def snip(evidence: Evidence, spec: SnipSpec, mask: "Mask") -> Pruned:
    """Prune weights by |w dL/dw| before training."""
    gradients = evidence.gradients(spec.batches)
    scores = {name: (w * gradients[name]).abs() for name, w in evidence.weights.items()}
    return Pruned(keep_best(scores, mask, spec, evidence.layout))
