"""Knobs of one pruning: how much is removed, and in what units."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Self

from tombola.base.errors import SpecError
from tombola.base.keys import exact_fraction
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec

__all__ = [
    "ALLOCATIONS",
    "ERK",
    "GLOBAL",
    "GROUPS",
    "HEADS_AND_NEURONS",
    "N_OF_M",
    "ROW",
    "ROWS_TOGETHER",
    "STRUCTURE_NAMES",
    "UNSTRUCTURED",
    "Implied",
    "PruneSpec",
    "depends_on_outputs",
]

UNSTRUCTURED, HEADS_AND_NEURONS, ROWS_TOGETHER = "unstructured", "heads-and-neurons", "rows"
STRUCTURE_NAMES = (UNSTRUCTURED, HEADS_AND_NEURONS, ROWS_TOGETHER)
"""Units of pruning, apart from N of M: the names of `ticket.structures.STRUCTURES`."""

GLOBAL, UNIFORM, ERK, ROW = "global", "uniform", "erk", "row"
ALLOCATIONS = (GLOBAL, UNIFORM, ERK, ROW)
"""Groups within which weights are ranked."""

GROUPS = (2, 4, 8, 16, 32)
"""Sizes M of the groups of N:M."""

N_OF_M = re.compile(rf"([1-9]|[12][0-9]|3[01]):({'|'.join(map(str, GROUPS))})")
"""Pattern of how many weights of a group are kept, as in 2:4."""


class Implied(Decimal):
    """A sparsity that nobody asked for: the default, or what other knobs imply.

    It remains one in `dataclasses.replace`, so that a knob that is replaced implies another.
    """

    def __repr__(self) -> str:
        return f"{self:f}"


def depends_on_outputs(structure: str, allocation: str) -> bool:
    """Whether a mask depends on which axis of a weight has its outputs."""
    return structure != UNSTRUCTURED or allocation == ROW


@dataclass(frozen=True, kw_only=True)
class PruneSpec(Spec):
    """How one round removes weights."""

    sparsity: Decimal = Implied("0.7")
    """Fraction of the scope that is zero in the end, in [0, 1)."""

    structure: str = UNSTRUCTURED
    """Unit of pruning: unstructured (single weights), heads-and-neurons, rows, or N:M, as in 2:4,
    which keeps 2 of every 4 consecutive weights along the inputs."""

    allocation: str = GLOBAL
    """Group within which weights are ranked: global (the whole scope), uniform (their matrix, all
    matrices equally sparse), erk (their matrix, wide matrices sparser), or row (their output)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        implied = isinstance(self.sparsity, Implied)
        sparsity = self._implied() if implied else exact_fraction(self.sparsity)
        object.__setattr__(self, "sparsity", sparsity)
        if pattern := N_OF_M.fullmatch(self.structure):
            self._check_pattern(int(pattern[1]), int(pattern[2]))
        elif self.structure not in STRUCTURE_NAMES:
            raise unknown("structure", self.structure, (*STRUCTURE_NAMES, "2:4"))
        if self.allocation not in ALLOCATIONS:
            raise unknown("allocation", self.allocation, ALLOCATIONS)
        if self.structure != UNSTRUCTURED and self.allocation != type(self).allocation:
            raise SpecError(
                f"allocation is for single weights, got {self.allocation} with the structure "
                f"{self.structure}. Leave one out."
            )

    @classmethod
    def of_mask(cls, sparsity: Decimal, structure: str, knobs: Mapping[str, Any]) -> Self:
        """The spec of one mask, whatever rounds of a search came before it."""
        return cls(sparsity=sparsity, structure=structure, **knobs)

    def check_sparse(self) -> None:
        """Refuse a search that prunes nothing.

        Raises: SpecError.
        """
        if not self.sparsity:
            raise SpecError("sparsity must be above 0 in a search, got 0. For 70 % write 0.7.")

    def check_search(self) -> None:
        """Refuse knobs that no search can follow, though a single mask may have them.

        Raises: SpecError.
        """

    @property
    def asks_teacher(self) -> bool:
        """Whether a step of the finder's own training takes a forward pass of a second network."""
        return False

    @property
    def reads(self) -> str:
        """What the finder reads of the training data for its scores, such as "4 batches", in
        addition to what it trains on; empty for nothing."""
        return ""

    def _implied(self) -> Implied:
        """The sparsity, where none was asked for."""
        pattern = N_OF_M.fullmatch(self.structure)
        if not pattern:
            return Implied(type(self).sparsity)
        n, m = map(Decimal, pattern.groups())
        return Implied(exact_fraction(max((m - n) / m, Decimal(0))))

    def _check_pattern(self, n: int, m: int) -> None:
        """Refuse n:m of another sparsity."""
        if n >= m:
            raise SpecError(f"in a structure N:M, N must be below M, got {self.structure}.")
        share = Fraction(m - n, m)
        if share != Fraction(self.sparsity):
            raise SpecError(
                f"the structure {self.structure} keeps {n} of each {m} weights, got sparsity "
                f"{self.sparsity:f}. Write sparsity {float(share):g}."
            )
