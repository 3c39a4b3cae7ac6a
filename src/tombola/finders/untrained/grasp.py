"""GraSP: pruning before training, by how much the gradient norm would fall without each weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.specs.prune import HEADS_AND_NEURONS, ROWS_TOGETHER
from tombola.finders.allocations import keep_best
from tombola.finders.data_knobs import BatchesSpec, prune_from_batches
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.scores import above_zero

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["GraspSpec", "grasp"]


@dataclass(frozen=True, kw_only=True)
class GraspSpec(BatchesSpec):
    """GraSP: how much is pruned, and from how many batches its gradients are taken."""

    batches: int = 1
    """Training batches whose gradients, and their change along them, are averaged."""

    @property
    def reads(self) -> str:
        """The batches, for the gradients and then for their change."""
        return f"{super().reads}, 2 times"


@finder("grasp", GraspSpec, plan=prune_from_batches, label="GraSP", source="Wang et al. 2020")
def grasp(evidence: Evidence, spec: GraspSpec, mask: "Mask") -> Pruned:
    """Keep the weights without which the gradient shrinks most, by w Hg.

    The paper divides logits by 200, so that the softmax is flat. A new head's logits are near zero,
    and are taken as they are.
    """
    curved = evidence.hessian_product(spec.batches, evidence.gradients(spec.batches))
    scores = {name: w * curved[name] for name, w in evidence.weights.items()}
    if spec.structure in (HEADS_AND_NEURONS, ROWS_TOGETHER):
        scores = above_zero(scores)
    return Pruned(keep_best(scores, mask, spec, evidence.layout))
