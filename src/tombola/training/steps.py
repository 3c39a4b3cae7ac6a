"""What a training reports of its steps, and where its numbers stop being finite; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Diverged", "OnStep", "ignore_step"]


class OnStep(Protocol):
    """What is called after each optimizer step."""

    def __call__(self, done: int, steps: int, loss: float | None = None, /) -> None:
        """Take the steps done, the steps in all, and the loss of the last batch that was read from
        the device; None where there is none yet."""


def ignore_step(done: int, steps: int, loss: float | None = None) -> None:
    """Do nothing after a step."""


@dataclass(frozen=True)
class Diverged:
    """The first number of a training that is infinite or NaN; such a training has no score, and no
    mask."""

    step: int
    """Optimizer steps until then, counted from the first of its course."""
    what: str
    """loss, gradient, weights; logits: those of the trained network on the test split; or scores:
    those that a mask is made by."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Diverged | None":
        """Where a training diverged, from its facts; None if it did not."""
        found = facts.get("diverged")
        return None if found is None else cls(**found)

    def __str__(self) -> str:
        """A phrase for people, put after the name of the training."""
        be = "is" if self.what in ("loss", "gradient") else "are"
        return f"diverged: its {self.what} {be} not finite at step {self.step:,}"
