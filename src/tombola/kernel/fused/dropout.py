"""Dropout without a mask: a key and a value's place decide whether it is dropped."""

from dataclasses import dataclass

import torch

__all__ = ["Dropout"]

CHANCES = 1 << 32
"""Values of the number that decides whether dropout drops a value."""


@dataclass(frozen=True)
class Dropout:
    """Which values are dropped, and what the others are multiplied with."""

    key: int
    """With the place of a value it decides whether that is dropped."""
    limit: int
    """The chance that it is, times 2**32; at 0 nothing is done."""
    scale: float

    @classmethod
    def draw(cls, chance: float) -> "Dropout":
        """Dropout of this chance, whose key is drawn from the global generator.

        The chance is within 2**-33 of what is asked for, and the mean exact to float32.
        """
        if not chance:
            return cls(0, 0, 1.0)
        limit = min(round(chance * CHANCES), CHANCES - 1)
        key = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
        return cls(key % 2**64, limit, CHANCES / (CHANCES - limit))

    @property
    def numbers(self) -> tuple[int, int, float]:
        """What the loops take."""
        return self.key, self.limit, self.scale
