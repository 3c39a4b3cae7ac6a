"""PLATON: sensitivity of the loss to each weight, times how uncertain that sensitivity is.

Pruned weights get gradients and may come back, from zero. Other than in the paper's code,
sensitivities are taken before the step, as in its equations, by gradients that are not clipped.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.trained.ramp import Ramp, RampSpec, prune_on_a_ramp
from tombola.finders.trained.state import flat, mask_of, part

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["PlatonSpec", "platon"]


@dataclass(frozen=True, kw_only=True)
class PlatonSpec(RampSpec):
    """PLATON: how much is pruned, when, and how sensitivities are averaged."""

    ramp_start: float = 0.055
    """Fraction of the training after which pruning begins."""

    ramp_end: float = 0.725
    """Fraction of the training after which the final sparsity is reached."""

    every: int = 10
    """Steps that a sensitivity is the mean of, and from one pruning to the next."""

    beta1: float = 0.85
    """Decay of the moving average of sensitivities."""

    beta2: float = 0.95
    """Decay of the moving average of their uncertainty; the paper has 0.85 at 90 %."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, float(getattr(self, name)))
            if not 0 <= getattr(self, name) < 1:
                raise SpecError(f"{name} must be in [0, 1), got {getattr(self, name):g}.")


@finder("platon", PlatonSpec, plan=prune_on_a_ramp, label="PLATON", source="Zhang et al. 2022")
def platon(evidence: Evidence, spec: PlatonSpec, mask: "Mask") -> Pruned:
    """Prune weights of low smoothed |w dL/dw| and low uncertainty of it."""
    pruner = _Sensitivities(spec, Ramp(spec, evidence, mask))
    evidence.train(pruner=pruner)
    return Pruned(pruner.held.to("cpu"))


class _Sensitivities:
    """Prunes by moving averages of sensitivity and uncertainty."""

    def __init__(self, spec: PlatonSpec, ramp: Ramp) -> None:
        self.spec, self.ramp, self.held = spec, ramp, ramp.base
        self._sum: Tensors = {}
        self._mean: Tensors = {}
        self._unsure: Tensors = {}
        self._full = False
        """Whether `held` has the final sparsity: until the next average it is the mask."""

    def before_step(self, weights: "Tensors", gradients: "Tensors") -> None:
        """Add up sensitivities; the gradients of pruned weights stay as they are."""
        import torch

        for name, weight in weights.items():
            if name not in self._sum:
                for kept in (self._sum, self._mean, self._unsure):
                    kept[name] = torch.zeros_like(weight).float()
            if name in gradients:
                product = (weight * gradients[name]).float().abs()
                self._sum[name] += product.nan_to_num_(0.0, 0.0, 0.0)  # overflow counts nothing

    def after_step(self, done: int, steps: int, weights: "Tensors") -> None:
        """Average, if a window is over, and prune, if it is time."""
        averaged = done % self.spec.every == 0
        if averaged:
            self._average()
        if not self.ramp.due(done, steps):
            return
        if averaged or not self._full:
            scores = {name: self._mean[name] * self._unsure[name] for name in self._mean}
            self.held = self.ramp.mask(scores, self.ramp.base, done, steps)
            self._full = self.ramp.is_full(done, steps)
        self.held.zero(weights)

    def tensors(self) -> "Tensors":
        """The mask so far, and the averages that its scores are made of."""
        return flat(held=self.held, sum=self._sum, mean=self._mean, unsure=self._unsure)

    def restore(self, tensors: "Tensors", weights: "Tensors") -> None:
        """Go on with those."""
        self.held = mask_of(tensors, "held", weights)
        for name in ("sum", "mean", "unsure"):
            own = part(tensors, name)
            setattr(self, f"_{name}", {n: x.to(weights[n].device) for n, x in own.items()})

    def _average(self) -> None:
        beta1, beta2 = self.spec.beta1, self.spec.beta2
        for name, total in self._sum.items():
            now, mean = total / self.spec.every, self._mean[name]
            mean.mul_(beta1).add_(now, alpha=1 - beta1)
            self._unsure[name].mul_(beta2).add_((now - mean).abs_(), alpha=1 - beta2)
            total.zero_()
