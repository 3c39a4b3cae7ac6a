"""A penalty on scores, which makes a mask pay for what it keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.trained.movement import MovementSpec

if TYPE_CHECKING:
    from tombola.ticket.mask import Tensors

__all__ = ["PenaltySpec", "penalise", "rising_penalty"]


@dataclass(frozen=True, kw_only=True)
class PenaltySpec(MovementSpec):
    """How scores learn, and what they pay for the weights that they keep."""

    penalty: float = 400.0
    """Weight of the mean sigmoid of the scores in the loss, from the end of the ramp."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "penalty", float(self.penalty))
        if not 0 <= self.penalty < float("inf"):
            raise SpecError(f"penalty must be 0 or more, got {self.penalty:g}.")


def rising_penalty(spec: PenaltySpec) -> "Callable[[Tensors, int, int], None]":
    """What adds the penalty's gradient to those of the scores, rising with the sparsity."""

    def penalty(scores: "Tensors", done: int, steps: int) -> None:
        penalise(scores, spec.penalty * spec.risen(done / steps))

    return penalty


def penalise(scores: "Tensors", weight: float) -> None:
    """Add the gradient of the mean over tensors of their mean sigmoid, times a weight."""
    for score in scores.values():
        sigmoid = score.sigmoid()
        slope = sigmoid * (1 - sigmoid)
        assert score.grad is not None
        score.grad += slope * (weight / (len(scores) * score.numel()))
