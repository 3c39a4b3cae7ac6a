"""Wanda: pruning by weights and the inputs that they meet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs.prune import ROW
from tombola.finders.allocations import keep_best
from tombola.finders.data_knobs import BatchesSpec, prune_by_inputs
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.layout import Layout
from tombola.ticket.structures import by_output

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["WandaSpec", "wanda"]


@dataclass(frozen=True, kw_only=True)
class WandaSpec(BatchesSpec):
    """Wanda: how much is pruned, and from how many batches the inputs are taken."""

    allocation: str = ROW
    """Group within which weights are ranked: row (their output), global (the whole scope), uniform
    (their matrix, all matrices equally sparse), or erk (their matrix, wide matrices sparser)."""

    batches: int = 4
    """Training batches whose inputs are read; four of 32 are the paper's 128 examples."""


@finder("wanda", WandaSpec, plan=prune_by_inputs, label="Wanda", source="Sun et al. 2024")
def wanda(evidence: Evidence, spec: WandaSpec, mask: "Mask") -> Pruned:
    """Prune weights by |w| times the norm of its input, in each output."""
    from tombola.ticket.mask import Mask

    inputs = evidence.activations(spec.batches)
    if unmet := sorted(evidence.weights.keys() - inputs.keys()):
        raise SpecError(
            f"{unmet[0]} has no inputs in this task, so that wanda can't score it. Use a scope "
            "without it."
        )
    scores = {name: w.abs() * inputs[name].sqrt() for name, w in evidence.weights.items()}
    turned = evidence.layout.transposed  # with any allocation, as ties go by position
    plain = Layout(evidence.layout.heads)
    made = keep_best(by_output(scores, turned), Mask(by_output(mask, turned)), spec, plain)
    return Pruned(Mask(by_output(made, turned)))
