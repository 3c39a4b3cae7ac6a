"""The sparsity after each step of a training: none, then a cubic rise, then the target."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS, N_OF_M, ROWS_TOGETHER
from tombola.finders.allocations import keep_best
from tombola.finders.finder import Finder
from tombola.finders.layout import Layout
from tombola.finders.scores import above_zero
from tombola.finders.shapes import train_mask
from tombola.ticket.schedule import shortest_sparsity

if TYPE_CHECKING:
    from tombola.finders.evidence import Evidence
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["Ramp", "RampSpec", "cut_to", "prune_on_a_ramp"]


@dataclass(frozen=True, kw_only=True)
class RampSpec(PruneSpec):
    """Pruning within one training: how much is pruned, and when."""

    ramp_start: float = 0.1
    """Fraction of the training after which pruning begins."""

    ramp_end: float = 0.8
    """Fraction of the training after which the final sparsity is reached."""

    every: int = 1
    """Steps from one pruning to the next, until the final sparsity is reached."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ramp_start", "ramp_end"):  # so that 0 and 0.0 have the same key
            object.__setattr__(self, name, float(getattr(self, name)))
        if not 0 <= self.ramp_start < self.ramp_end <= 1:
            raise SpecError(
                "ramp_start and ramp_end are fractions of the training, one after the other, got "
                f"{self.ramp_start:g} and {self.ramp_end:g}. Use 0 <= ramp_start < ramp_end <= 1."
            )
        if self.every < 1:
            raise SpecError(f"every must be at least one step, got {self.every}.")

    def risen(self, share: float) -> float:
        """How far the ramp has risen after a share of the training: 0 to 1.

        Source: Zhu & Gupta 2018, equation 1.
        """
        left = (self.ramp_end - share) / (self.ramp_end - self.ramp_start)
        left = min(1.0, max(0.0, left))
        return 1 - left * left * left


def prune_on_a_ramp(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`train_mask`, with a pruning before the end of the ramp.

    Raises: SpecError.
    """
    assert isinstance(spec, RampSpec)
    steps = int(spec.ramp_end * subject.steps)
    if spec.every > max(1, steps):
        raise SpecError(
            f"every must be at most the {steps} steps until the final sparsity is reached, got "
            f"{spec.every}. Prune more often, or train for more epochs."
        )
    return train_mask(finder, subject, spec, seed)


@dataclass(frozen=True)
class Ramp:
    """The masks of one training.

    With N:M nothing is pruned before the end of the ramp: a lower sparsity has no such pattern.
    """

    spec: RampSpec
    evidence: "Evidence"
    base: "Mask"
    """What is pruned already, and stays so."""

    def due(self, done: int, steps: int) -> bool:
        """Whether it is time to prune after a step."""
        return done % self.spec.every == 0 or self.is_full(done, steps)

    def is_full(self, done: int, steps: int) -> bool:
        """Whether the final sparsity is reached after a step."""
        return self._sparsity(done, steps) == self.spec.sparsity

    def mask(self, scores: "Tensors", base: "Mask", done: int, steps: int) -> "Mask":
        """The mask after a step, by scores of any sign on any device; nothing of `base` returns."""
        sparsity = self._sparsity(done, steps)
        if sparsity < self.spec.sparsity and N_OF_M.fullmatch(self.spec.structure):
            return base
        return self._cut(scores, base, sparsity)

    def mask_from(self, scores: "Tensors", done: int, steps: int, before: "Mask") -> "Mask":
        """The mask from a step on: that of its scores where it is time to prune, else the last."""
        return self.mask(scores, self.base, done, steps) if self.due(done, steps) else before

    def _sparsity(self, done: int, steps: int) -> Decimal:
        risen = self.spec.risen(done / steps) if done < steps else 1.0
        if risen == 1:
            return self.spec.sparsity
        rise = self.spec.sparsity - self._begun if self._begun else self.spec.sparsity
        return self._begun + rise * Decimal(f"{risen:.6f}")

    @cached_property
    def _begun(self) -> Decimal:
        """The sparsity that it rises from."""
        return shortest_sparsity(self.base.pruned, self.base.size)

    def _cut(self, scores: "Tensors", base: "Mask", sparsity: Decimal) -> "Mask":
        return cut_to(scores, base, self.spec, self.evidence.layout, sparsity=sparsity)

    def final(self, scores: "Tensors") -> "Mask":
        """The mask at the final sparsity, on the CPU."""
        return self._cut({n: s.cpu() for n, s in scores.items()}, self.base, self.spec.sparsity)


def cut_to(
    scores: "Tensors",
    base: "Mask",
    spec: PruneSpec,
    layout: Layout,
    *,
    sparsity: Decimal | None = None,
) -> "Mask":
    """`keep_best` by scores of any sign on any device; the mask is where they are."""
    if spec.structure in (HEADS_AND_NEURONS, ROWS_TOGETHER):
        scores = above_zero(scores)
    mask = keep_best(scores, base, spec, layout, sparsity=sparsity)
    return mask.to(next(iter(scores.values())).device)
