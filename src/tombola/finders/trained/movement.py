"""Movement pruning: weights are kept that move away from zero while the network trains.

Each weight has a score. The network computes with the masked weights; the gradient goes straight
through the mask to the score, as if the mask were the score. So scores of pruned weights learn as
well, and pruned weights may come back, with the value that they had: they are kept aside.

Other than in the paper's code, scores go by gradients that are not clipped, and their learning rate
decays from the first step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.trained.ramp import Ramp, RampSpec, prune_on_a_ramp
from tombola.finders.trained.state import flat, mask_of, part

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["MovementSpec", "ScoreLearner", "check_rate", "movement"]


@dataclass(frozen=True, kw_only=True)
class MovementSpec(RampSpec):
    """Movement pruning: how much is pruned, when, and how fast scores learn."""

    score_learning_rate: float = 1e-2
    """Peak learning rate of the scores; decays linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "score_learning_rate", float(self.score_learning_rate))
        check_rate(self.score_learning_rate)


def check_rate(rate: float) -> None:
    """Refuse a learning rate with which no score learns.

    Raises: SpecError.
    """
    if not 0 < rate < float("inf"):
        raise SpecError(f"score_learning_rate must be above 0, got {rate:g}.")


@finder("movement", MovementSpec, plan=prune_on_a_ramp, source="Sanh et al. 2020")
def movement(evidence: Evidence, spec: MovementSpec, mask: "Mask") -> Pruned:
    """Learn by straight-through gradients which weights to keep."""
    ramp = Ramp(spec, evidence, mask)
    learner = ScoreLearner(mask, spec.score_learning_rate, ramp.mask_from)
    evidence.train(pruner=learner)
    return Pruned(ramp.final(learner.scores))


class ScoreLearner:
    """Learns scores of weights while these train under the mask that the scores make.

    Args:
        mask: the mask at the start.
        rate: peak learning rate of the scores.
        cut: (scores, steps done, steps of the training, mask so far) -> the mask from now on.
        penalty: adds the gradient of a penalty to the scores' own, by the steps before this one
            and those of the training.
    """

    def __init__(
        self,
        mask: "Mask",
        rate: float,
        cut: "Callable[[Tensors, int, int, Mask], Mask]",
        penalty: "Callable[[Tensors, int, int], None] | None" = None,
    ) -> None:
        self.mask, self.rate, self._cut, self._penalty = mask, rate, cut, penalty
        self.scores: Tensors = {}
        self._aside: Tensors = {}

    def first_scores(self, weights: "Tensors") -> "Tensors":
        """Name -> the scores that learning begins with, as float32, where the weights are."""
        import torch

        return {name: torch.zeros_like(weight).float() for name, weight in weights.items()}

    def peak_rate(self, steps: int) -> float:
        """Peak learning rate of the scores in a training of that many steps."""
        return self.rate

    def before_step(self, weights: "Tensors", gradients: "Tensors") -> None:
        """Give scores their gradients, and the optimizer the weights without the mask."""
        if not self.scores:
            self._begin(weights)
        for name, score in self.scores.items():
            score.grad = _straight_through(gradients.get(name), self._aside[name])
            weights[name].copy_(self._aside[name])
        self.mask.zero(gradients)

    def _begin(self, weights: "Tensors") -> None:
        import torch

        self._aside = {name: weights[name].clone() for name in sorted(weights)}
        self.scores = self.first_scores(self._aside)
        self._adam = torch.optim.Adam([*self.scores.values()], lr=self.rate)

    def after_step(self, done: int, steps: int, weights: "Tensors") -> None:
        """Move the scores, and mask the weights by them."""
        for name, own in self._aside.items():
            own.copy_(weights[name])
        if self._penalty:
            self._penalty(self.scores, done - 1, steps)
        for group in self._adam.param_groups:
            group["lr"] = self.peak_rate(steps) * (1 - (done - 1) / steps)
        self._adam.step()
        self.mask = self._cut(self.scores, done, steps, self.mask)
        self.mask.zero(weights)

    def tensors(self) -> "Tensors":
        """The mask so far, scores with their moments, and the weights without the mask."""
        moments = self._adam.state_dict()["state"]
        by_name = {f"{n}.{each}": x for n, own in moments.items() for each, x in own.items()}
        return flat(mask=self.mask, scores=self.scores, aside=self._aside, moments=by_name)

    def restore(self, tensors: "Tensors", weights: "Tensors") -> None:
        """Go on with those."""
        self._begin(weights)
        self.mask = mask_of(tensors, "mask", weights)
        for name, own in (("scores", self.scores), ("aside", self._aside)):
            for n, x in part(tensors, name).items():
                own[n].copy_(x)
        state: dict[int, Tensors] = {}
        for name, x in part(tensors, "moments").items():
            number, _, moment = name.partition(".")
            state.setdefault(int(number), {})[moment] = x.clone()
        self._adam.load_state_dict({**self._adam.state_dict(), "state": state})


def _straight_through(gradient: "Tensor | None", weight: "Tensor") -> "Tensor":
    """The gradient of a score; what overflows in sixteen bits counts nothing."""
    import torch

    if gradient is None:
        return torch.zeros_like(weight).float()
    return (gradient * weight).float().nan_to_num_(0.0, 0.0, 0.0)
