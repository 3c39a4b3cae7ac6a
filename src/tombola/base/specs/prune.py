"""Knobs of one pruning: how much is removed, and in what units."""

from dataclasses import dataclass
from decimal import Decimal

from tombola.base.keys import exact
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec

__all__ = ["HEADS_AND_NEURONS", "STRUCTURES", "UNSTRUCTURED", "PruneSpec"]

UNSTRUCTURED = "unstructured"
HEADS_AND_NEURONS = "heads-and-neurons"
STRUCTURES = (UNSTRUCTURED, HEADS_AND_NEURONS)
"""What is removed as a whole: single weights, or attention heads and intermediate neurons."""


@dataclass(frozen=True, kw_only=True)
class PruneSpec(Spec):
    """How one round removes weights."""

    sparsity: Decimal = Decimal("0.7")
    """Fraction of the scope that is zero in the end, in [0, 1)."""

    structure: str = UNSTRUCTURED
    """What is removed as a whole: unstructured (single weights), or heads-and-neurons."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "sparsity", exact(self.sparsity))
        if self.structure not in STRUCTURES:
            raise unknown("structure", self.structure, STRUCTURES)
