"""Sparsities on the way, for finders that score again after each step."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, TypeAlias

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import N_OF_M
from tombola.finders.allocations import keep_best
from tombola.finders.layout import Layout
from tombola.ticket.schedule import MAX_ROUNDS, pruned_count

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["check_steps", "exponential", "prune_in_steps", "steps_taken"]

Score: TypeAlias = "Callable[[Mask], Tensors]"
"""What is pruned already -> name -> score of each weight."""


def check_steps(steps: int) -> None:
    """Refuse a number of steps that no search takes.

    Raises: SpecError.
    """
    if not 1 <= steps <= MAX_ROUNDS:
        raise SpecError(f"steps must be between 1 and {MAX_ROUNDS}, got {steps}.")


def steps_taken(spec: PruneSpec, steps: int) -> int:
    """Steps to the sparsity: one for N:M, which knows no other sparsity."""
    return 1 if N_OF_M.fullmatch(spec.structure) else steps


def prune_in_steps(
    score: Score,
    mask: "Mask",
    spec: PruneSpec,
    layout: Layout,
    *,
    steps: int,
) -> "Mask":
    """Score, prune to the next sparsity on the way, and score again."""
    way = exponential(spec.sparsity, steps_taken(spec, steps))
    for sparsity in way:
        if pruned_count(sparsity, mask.size) > mask.pruned or sparsity == spec.sparsity:
            mask = keep_best(score(mask), mask, spec, layout, sparsity=sparsity)
    return mask


def exponential(sparsity: Decimal, steps: int) -> tuple[Decimal, ...]:
    """The sparsity after each step, each of which keeps the same share of what is left.

    Source: Tanaka et al. 2020, Algorithm 1.
    """
    with localcontext(prec=28):
        way = (1 - (1 - sparsity) ** (Decimal(step) / steps) for step in range(1, steps))
        return (*way, sparsity)
