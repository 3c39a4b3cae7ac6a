"""The step at which the numbers of a training stopped being finite; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Diverged"]


@dataclass(frozen=True)
class Diverged:
    """The first number of a training that is infinite or NaN; such a training has no score."""

    step: int
    """Optimizer steps until then, counted from the first of its course."""
    what: str
    """loss, gradient, weights, or logits: those of the trained network on the test split."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Diverged | None":
        """From the facts of a training; None if it did not diverge."""
        found = facts.get("diverged")
        return None if found is None else cls(**found)

    def __str__(self) -> str:
        """A phrase for people, put after the name of the training."""
        be = "is" if self.what in ("loss", "gradient") else "are"
        return f"diverged: its {self.what} {be} not finite at step {self.step:,}"
