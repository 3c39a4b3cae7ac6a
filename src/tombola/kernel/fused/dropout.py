"""Dropout without a mask: a key and a value's index decide whether it is dropped."""

from dataclasses import dataclass

import torch

__all__ = ["Dropout"]

CHANCES = 1 << 32
"""Number of values of the hash that decides whether a value is dropped."""


@dataclass(frozen=True)
class Dropout:
    """Which values are dropped, and what the others are multiplied with."""

    key: int
    """Hashed with the index of a value to decide whether it is dropped."""
    limit: int
    """The dropout probability times 2**32; at 0 nothing is dropped."""
    scale: float

    @classmethod
    def draw(cls, chance: float) -> "Dropout":
        """Dropout of this probability, whose key is drawn from the global generator.

        The probability is within 2**-33 of the requested one, and the mean exact to float32.
        """
        if not chance:
            return cls(0, 0, 1.0)
        limit = min(round(chance * CHANCES), CHANCES - 1)
        key = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
        return cls(key % 2**64, limit, CHANCES / (CHANCES - limit))

    @property
    def numbers(self) -> tuple[int, int, float]:
        """The arguments of the loops."""
        return self.key, self.limit, self.scale
