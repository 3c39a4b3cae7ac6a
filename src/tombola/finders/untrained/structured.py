"""Heads and neurons by what the loss would change without them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs.prune import HEADS_AND_NEURONS
from tombola.finders.allocations import keep_best
from tombola.finders.data_knobs import ExamplesSpec, prune_from_examples
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.ticket.structures import ROWS, Units, units_of

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["StructuredSpec", "structured", "unit_importance"]


@dataclass(frozen=True, kw_only=True)
class StructuredSpec(ExamplesSpec):
    """Heads and neurons: how many are pruned, and from how many examples they are judged."""

    structure: str = HEADS_AND_NEURONS
    """Unit of pruning: heads-and-neurons."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.structure != HEADS_AND_NEURONS:
            raise SpecError(
                f"the finder structured prunes {HEADS_AND_NEURONS}, got the structure "
                f"{self.structure}. Leave it out, or use another finder."
            )


@finder(
    "structured",
    StructuredSpec,
    plan=prune_from_examples,
    scores="structured-2",
    label="heads and neurons",
    source="Michel et al. 2019",
)
def structured(evidence: Evidence, spec: StructuredSpec, mask: "Mask") -> Pruned:
    """Prune heads and neurons whose gate has the smallest mean |dL/dgate|.

    As in the paper, the numbers of each layer are divided by their norm; here by its mean square,
    so that heads and neurons, of which there are different numbers, can be compared.
    """
    units = units_of(evidence.weights, evidence.layout.heads)
    scores: Tensors = {}
    for kind, importance in zip(
        units, unit_importance(evidence, spec.examples, units), strict=True
    ):
        scaled = importance / importance.square().mean().sqrt().clamp_min(1e-30)
        for name, axis in kind.matrices:
            shape = evidence.weights[name].shape
            lines = scaled.float().repeat_interleave(shape[axis] // kind.count)
            scores[name] = (lines.unsqueeze(1 - axis)).expand(shape).contiguous()
    return Pruned(keep_best(scores, mask, spec, evidence.layout))


def unit_importance(evidence: Evidence, examples: int, units: "list[Units]") -> "list[Tensor]":
    """For each kind of unit in each block, mean over examples of |dL/dgate| of each, (units,).

    A gate multiplies what a unit adds to the residual stream, so that its gradient is the sum of
    those of gates on the columns that lead there.
    """
    import torch

    matrices = {name for kind in units for name, axis in kind.matrices if axis != ROWS}
    gates = evidence.gate_gradients(examples, matrices)
    found = []
    for kind in units:
        inputs = sum(gates[n].double() for n, axis in kind.matrices if axis != ROWS)
        by_unit = torch.as_tensor(inputs).unflatten(1, (kind.count, -1)).sum(2)
        found.append(by_unit.abs().mean(0))
    return found
