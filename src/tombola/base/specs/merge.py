"""Knobs of a merge: which weights one ticket made from several keeps."""

from dataclasses import dataclass
from decimal import Decimal

from tombola.base.errors import SpecError
from tombola.base.keys import exact_fraction
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec

__all__ = ["INTERSECTION", "MAJORITY", "MERGE_RULES", "UNION", "MergeSpec"]

UNION, INTERSECTION, MAJORITY = MERGE_RULES = ("union", "intersection", "majority")
"""Which kept weights of several tickets the merged one keeps."""


@dataclass(frozen=True, kw_only=True)
class MergeSpec(Spec):
    """How several tickets become one."""

    rule: str = MAJORITY
    """Which weights are kept: union (those that any ticket keeps), intersection (those that all
    keep) or majority (those that more than half of the tickets keep)."""

    sparsity: Decimal | None = None
    """With majority: prune exactly this fraction of the scope, first the weights that the fewest
    tickets keep; among those that as many keep, the smallest pre-trained ones; among equal ones, by
    name, then position."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule not in MERGE_RULES:
            raise unknown("rule", self.rule, MERGE_RULES)
        if self.sparsity is None:
            return
        object.__setattr__(self, "sparsity", exact_fraction(self.sparsity))
        if self.rule != MAJORITY:
            raise SpecError(
                f"a sparsity is for the rule {MAJORITY}, got one for {self.rule}, which prunes as "
                f"much as the tickets say. Leave it out, or use --rule {MAJORITY}."
            )
