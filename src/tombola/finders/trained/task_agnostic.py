"""Task-agnostic mask training: the mask learns to keep what pre-training gave the network.

All weights are frozen. The mask learns from masked tokens, from the hidden states of the whole
pre-trained network, or from both, so that its ticket serves any task. Scores begin as magnitudes
have them, and after each step the mask is as sparse as the spec.
"""

from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import UNIFORM
from tombola.finders.allocations import keep_best
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Finder, Pruned, finder
from tombola.finders.scores import magnitude
from tombola.finders.shapes import train_mask
from tombola.finders.trained.movement import ScoreLearner, check_rate
from tombola.finders.trained.ramp import cut_to

if TYPE_CHECKING:
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["TaskAgnosticSpec", "task_agnostic"]

PAPER_STEPS = 27_920
"""Steps of a training of the paper: two passes over WikiText-103."""
KEPT = 0.02
"""Score that a kept weight begins with; that of a pruned one is 0."""


@dataclass(frozen=True, kw_only=True)
class TaskAgnosticSpec(PruneSpec):
    """Task-agnostic mask training: how much is pruned, and what the mask learns from."""

    allocation: str = UNIFORM
    """Group within which weights are ranked: uniform (their matrix, all matrices equally sparse),
    global (the whole scope), erk (their matrix, wide matrices sparser), or row (their output)."""

    feature_distill: float = 0.5
    """Share of the loss that is the distance of hidden states from those of the pre-trained
    network; 0 learns from masked tokens alone, and 1 from that network alone."""

    score_learning_rate: float = 5e-5
    """Peak learning rate of the scores in a training of 27,920 steps; in a shorter one it is higher
    by the square root of how much shorter that is. Decays linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("feature_distill", "score_learning_rate"):
            object.__setattr__(self, name, float(getattr(self, name)))
        check_rate(self.score_learning_rate)
        if not 0 <= self.feature_distill <= 1:
            raise SpecError(
                f"feature_distill must be between 0 and 1, got {self.feature_distill:g}."
            )

    @property
    def asks_teacher(self) -> bool:
        """Whether the whole pre-trained network computes hidden states in each step as well."""
        return self.feature_distill > 0


def train_on_text(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`train_mask`, without the labels of any task.

    Raises: SpecError, for a task with labels that are not left out, a recipe with a teacher, or a
        network whose head would be drawn and stay so.
    """
    assert isinstance(spec, TaskAgnosticSpec)
    if subject.task.kind != "mlm" and spec.feature_distill < 1:
        raise SpecError(
            f"{finder.name} learns from masked tokens, and the task {subject.task.name} has "
            "labels. Find its ticket on mlm and transfer it, or set feature_distill to 1, which "
            "reads the texts alone."
        )
    if subject.recipe.distill:
        raise SpecError(
            f"{finder.name} learns from the pre-trained network, got distill "
            f"{subject.recipe.distill:g}, which is another teacher. Leave it out."
        )
    if subject.drawn_head and spec.feature_distill < 1:
        raise SpecError(
            f"{finder.name} learns from masked tokens by the head of pre-training, which it "
            f"freezes, and the files of {subject.model!r} lack its {subject.drawn_head[0]}. Use a "
            "checkpoint with its head, or set feature_distill to 1, which needs none."
        )
    return train_mask(finder, subject, spec, seed)


@finder("task-agnostic", TaskAgnosticSpec, plan=train_on_text, source="Liu et al. 2022")
def task_agnostic(evidence: Evidence, spec: TaskAgnosticSpec, mask: "Mask") -> Pruned:
    """Train the mask alone, on masked tokens and what the whole network sees."""
    learner = _Learner(spec, mask, evidence)
    evidence.train(pruner=learner, frozen=True, feature_distill=spec.feature_distill)
    return Pruned(learner.mask.to("cpu"))


class _Learner(ScoreLearner):
    """Learns scores from those of the largest weights."""

    def __init__(self, spec: TaskAgnosticSpec, base: "Mask", evidence: Evidence) -> None:
        layout = evidence.layout

        def cut(scores: "Tensors", done: int, steps: int, before: "Mask") -> "Mask":
            return cut_to(scores, base, spec, layout)

        super().__init__(base, spec.score_learning_rate, cut)
        self._largest = partial(keep_best, mask=base, spec=spec, layout=layout)

    def first_scores(self, weights: "Tensors") -> "Tensors":
        """Those of two classes: weights that magnitude keeps, and others."""
        kept = self._largest(magnitude(weights))
        return {n: kept[n].to(w.device).float() * KEPT for n, w in weights.items()}

    def peak_rate(self, steps: int) -> float:
        """The rate by which noisy gradients spread scores as far as in the paper's training.

        One in proportion would lose the largest weights in the first steps of a short training.
        """
        return self.rate * sqrt(PAPER_STEPS / steps)
