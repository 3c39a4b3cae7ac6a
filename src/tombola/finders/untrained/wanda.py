"""Wanda: pruning by weights and the inputs that they meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs.prune import ROW, UNSTRUCTURED
from tombola.finders.allocations import keep_best
from tombola.finders.data_knobs import BatchesSpec, prune_by_inputs
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["WandaSpec", "wanda"]


@dataclass(frozen=True, kw_only=True)
class WandaSpec(BatchesSpec):
    """Wanda: how much is pruned, and from how many batches the inputs are taken."""

    allocation: str = ROW
    """Group within which weights are ranked: row (their output), global (the whole scope), uniform
    (their matrix, all matrices equally sparse), or erk (their matrix, wide matrices sparser)."""

    batches: int = 4
    """Training batches whose inputs are read; four of 32 are the paper's 128 examples."""


@finder("wanda", WandaSpec, plan=prune_by_inputs, label="Wanda")
def wanda(evidence: Evidence, spec: WandaSpec, mask: "Mask") -> Pruned:
    """Prune weights by |w| times the norm of its input, in each output (Sun et al. 2024)."""
    from tombola.ticket.mask import Mask

    inputs = evidence.activations(spec.batches)
    if unmet := sorted(evidence.weights.keys() - inputs.keys()):
        raise SpecError(
            f"{unmet[0]} has no inputs in this task, so that wanda can't score it. "
            "Take a scope without it."
        )
    scores = {name: w.abs() * inputs[name].sqrt() for name, w in evidence.weights.items()}
    if spec.structure != UNSTRUCTURED:
        return Pruned(keep_best(scores, mask, spec, evidence.heads))
    transposed = {name for name, x in inputs.items() if x.ndim == 2}  # a row is an output in all
    made = keep_best(
        _transpose(scores, transposed), Mask(_transpose(mask, transposed)), spec, evidence.heads
    )
    return Pruned(Mask(_transpose(made, transposed)))


def _transpose(tensors: "Mapping[str, Tensor]", names: set[str]) -> "Tensors":
    """Transpose the matrices of these names."""
    return {name: x.T.contiguous() if name in names else x for name, x in tensors.items()}
