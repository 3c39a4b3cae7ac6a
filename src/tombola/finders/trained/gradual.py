"""Gradual magnitude pruning: small weights are pruned while the network trains."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.scores import magnitude
from tombola.finders.trained.ramp import Ramp, RampSpec, prune_on_a_ramp
from tombola.finders.trained.state import flat, mask_of

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["GradualSpec", "gradual"]


@dataclass(frozen=True, kw_only=True)
class GradualSpec(RampSpec):
    """Gradual magnitude pruning: how much is pruned, and when."""

    every: int = 10
    """Steps from one pruning to the next, until the final sparsity is reached."""


@finder("gradual", GradualSpec, plan=prune_on_a_ramp, source="Zhu & Gupta 2018")
def gradual(evidence: Evidence, spec: GradualSpec, mask: "Mask") -> Pruned:
    """Prune the smallest weights step by step within one training."""
    pruner = _Smallest(Ramp(spec, evidence, mask))
    evidence.train(pruner=pruner)
    return Pruned(pruner.held.to("cpu"))


class _Smallest:
    """Prunes the smallest weights; what is pruned stays +0.0, and so does its gradient."""

    def __init__(self, ramp: Ramp) -> None:
        self.ramp, self.held = ramp, ramp.base

    def before_step(self, weights: "Tensors", gradients: "Tensors") -> None:
        """Zero the gradients of pruned weights, so that a norm counts kept ones only."""
        self.held.zero(gradients)

    def after_step(self, done: int, steps: int, weights: "Tensors") -> None:
        """Prune, if it is time, and fill: an optimizer's momentum moves pruned weights."""
        if self.ramp.due(done, steps):
            self.held = self.ramp.mask(magnitude(weights), self.held, done, steps)
        self.held.zero(weights)

    def tensors(self) -> "Tensors":
        """The mask so far."""
        return flat(held=self.held)

    def restore(self, tensors: "Tensors", weights: "Tensors") -> None:
        """Go on with that mask."""
        self.held = mask_of(tensors, "held", weights)
