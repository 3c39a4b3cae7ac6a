"""Soft movement pruning: scores learn under a threshold, and pay for what they keep."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.trained.movement import ScoreLearner
from tombola.finders.trained.penalty import PenaltySpec, rising_penalty
from tombola.finders.trained.ramp import Ramp, prune_on_a_ramp

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["SoftMovementSpec", "soft_movement"]


@dataclass(frozen=True, kw_only=True)
class SoftMovementSpec(PenaltySpec):
    """Soft movement pruning: how much is pruned in the end, and what pushes scores down."""

    threshold: float = 0.1
    """Weights whose score has a sigmoid of at most this are pruned, from the end of the ramp."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "threshold", float(self.threshold))
        if not 0 < self.threshold < 1:
            raise SpecError(f"threshold must be between 0 and 1, got {self.threshold:g}.")


@finder("soft-movement", SoftMovementSpec, plan=prune_on_a_ramp, source="Sanh et al. 2020")
def soft_movement(evidence: Evidence, spec: SoftMovementSpec, mask: "Mask") -> Pruned:
    """Learn by straight-through gradients which weights pass a threshold.

    How many pass is not known beforehand, so that the ticket keeps the best scores at the wanted
    sparsity; `threshold_sparsity` is what the threshold itself prunes in the end.
    """
    ramp = Ramp(spec, evidence, mask)

    def cut(scores: "Tensors", done: int, steps: int, before: "Mask") -> "Mask":
        return _passing(scores, mask, spec.threshold * spec.risen(done / steps))

    learner = ScoreLearner(mask, spec.score_learning_rate, cut, rising_penalty(spec))
    evidence.train(pruner=learner)
    return Pruned(
        ramp.final(learner.scores), {"threshold_sparsity": round(learner.mask.sparsity, 6)}
    )


def _passing(scores: "Tensors", base: "Mask", threshold: float) -> "Mask":
    """Weights whose score has a larger sigmoid."""
    from tombola.ticket.mask import Mask

    passing = {name: score.sigmoid() > threshold for name, score in scores.items()}
    return Mask({name: each & base[name].to(each.device) for name, each in passing.items()})
