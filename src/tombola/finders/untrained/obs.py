"""Optimal brain surgeon with a diagonal Fisher matrix."""

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.data_knobs import ExamplesSpec, prune_from_examples
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.iterations import check_steps, prune_in_steps

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["ObsSpec", "obs"]


@dataclass(frozen=True, kw_only=True)
class ObsSpec(ExamplesSpec):
    """Optimal brain surgeon: how much is pruned, and how its Fisher matrix is estimated."""

    examples: int = 1024
    """Training examples whose squared gradients are averaged, one by one."""

    steps: int = 4
    """Steps to the sparsity; the Fisher matrix is estimated anew in each."""

    damping: float = 1e-7
    """What is added to the diagonal of the Fisher matrix."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps)
        if not 0 <= self.damping < float("inf"):
            raise SpecError(f"damping is zero or more, got {self.damping}.")


@finder("obs", ObsSpec, plan=prune_from_examples, scores="obs-2", label="OBS")
def obs(evidence: Evidence, spec: ObsSpec, mask: "Mask") -> Pruned:
    """Prune weights by w^2 times their Fisher information, estimated anew (Kurtic et al. 2022).

    Blocks of the Fisher matrix are of size one. The best change of the other weights, by which the
    method makes up for a pruned one, is then none.
    """

    look = count()

    def score(kept: "Mask") -> "Tensors":
        information = evidence.squared_gradients(
            spec.examples, kept, look=next(look), looks=spec.steps
        )
        return {
            name: weight.square() * (information[name] + spec.damping) / 2
            for name, weight in evidence.weights.items()
        }

    return Pruned(prune_in_steps(score, mask, spec, evidence.heads, steps=spec.steps))
