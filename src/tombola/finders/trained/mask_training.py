"""Mask training: only the mask learns, so that the pruned pre-trained network is the task's model.

Weights and head are frozen. The head is the one that the seed draws; the paper takes the embeddings
of words that name the labels, which most tasks don't have.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.specs.prune import GLOBAL, UNSTRUCTURED
from tombola.finders.allocations import keep_number, quotas
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.trained.movement import ScoreLearner
from tombola.finders.trained.penalty import PenaltySpec, rising_penalty
from tombola.finders.trained.ramp import Ramp, prune_on_a_ramp
from tombola.ticket.schedule import pruned_count

if TYPE_CHECKING:
    from decimal import Decimal

    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["MaskTrainingSpec", "keep_by_matrix", "mask_training"]


@dataclass(frozen=True, kw_only=True)
class MaskTrainingSpec(PenaltySpec):
    """Mask training: how much is pruned, when, and how scores learn."""

    ramp_start: float = 0.0
    """Fraction of the training after which pruning begins."""

    ramp_end: float = 0.59
    """Fraction of the training after which the final sparsity is reached."""

    score_learning_rate: float = 2e-2
    """Peak learning rate of the scores; decays linearly to zero."""


@finder("mask-training", MaskTrainingSpec, plan=prune_on_a_ramp, source="Jiang et al. 2023")
def mask_training(evidence: Evidence, spec: MaskTrainingSpec, mask: "Mask") -> Pruned:
    """Train the mask alone, with weights and head frozen.

    Single weights are ranked within their matrix, and a matrix keeps more of them the higher the
    sigmoids of its scores are among those of its kind (SMP-S, equation 4), unless there is another
    structure or allocation.
    """
    ramp = _ByMatrix(spec, evidence, mask)
    learner = ScoreLearner(mask, spec.score_learning_rate, ramp.mask_from, rising_penalty(spec))
    evidence.train(pruner=learner, frozen=True)
    return Pruned(ramp.final(learner.scores))


class _ByMatrix(Ramp):
    """Masks in which single weights are ranked within their matrix."""

    def _cut(self, scores: "Tensors", base: "Mask", sparsity: "Decimal") -> "Mask":
        if (self.spec.structure, self.spec.allocation) != (UNSTRUCTURED, GLOBAL):
            return super()._cut(scores, base, sparsity)
        return keep_by_matrix(scores, base, sparsity).to(next(iter(scores.values())).device)


def keep_by_matrix(scores: "Tensors", mask: "Mask", sparsity: "Decimal") -> "Mask":
    """Keep the best scores of each matrix, of which each has its share of those kept.

    Args:
        scores: name -> float tensor of the weight's shape.
        mask: what is pruned already and stays so.
        sparsity: the exact sparsity of the result.
    """
    from tombola.ticket.mask import Mask
    from tombola.ticket.prune import check_scores

    check_scores(scores)
    shares, most = _shares(scores), [int(each.sum()) for each in mask.values()]
    kept = mask.size - pruned_count(sparsity, mask.size)
    numbers = quotas(kept, [shares[name] for name in mask], most)
    found = zip(mask, numbers, strict=True)
    return Mask({name: keep_number(scores[name], mask[name], number) for name, number in found})


def _shares(scores: "Tensors") -> dict[str, int]:
    """The share of each matrix: the sum of the sigmoids of its scores, as a part of its kind's in
    all blocks, times the size of these."""
    from tombola.ticket.scope import starred

    sums = {name: max(_sum(score), 1e-30) for name, score in scores.items()}
    kinds: dict[str, list[str]] = {}
    for name in scores:
        kinds.setdefault(starred(name), []).append(name)
    found = dict[str, int]()
    for names in kinds.values():
        size, total = sum(scores[n].numel() for n in names), sum(sums[n] for n in names)
        found |= {name: max(1, round(size * sums[name] / total * _PARTS)) for name in names}
    return found


_PARTS = 1 << 30
"""Parts of a weight that a share is counted in."""


def _sum(score: "Tensor") -> float:
    return float(score.double().sigmoid().sum())
