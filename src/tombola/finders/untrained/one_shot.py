"""One-shot magnitude pruning, without any training."""

from typing import TYPE_CHECKING

from tombola.base.specs import PruneSpec
from tombola.finders.allocations import keep_best
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.scores import magnitude
from tombola.finders.shapes import prune_once

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["one_shot"]


@finder(
    "one-shot",
    PruneSpec,
    plan=prune_once,
    scores="magnitude",
    task_free=True,
    source="Han et al. 2015",
)
def one_shot(evidence: Evidence, spec: PruneSpec, mask: "Mask") -> Pruned:
    """Prune the smallest pre-trained weights."""
    scores = magnitude(evidence.weights)
    return Pruned(keep_best(scores, mask, spec, evidence.layout))
