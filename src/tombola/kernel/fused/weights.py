"""What activations are multiplied with: weights themselves, or copies in bfloat16."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["HalfWeights", "Weights", "weights_for"]


class Weights:
    """The weights themselves, for activations in float32."""

    dtype = torch.float32

    def of(self, weight: Tensor) -> Tensor:
        """What to multiply with in place of a weight."""
        return weight.detach()

    def beside(self, weights: Sequence[Tensor], *, alike: bool) -> list[Tensor]:
        """The same for those of queries, keys and values, of which some may be one matrix.

        Args:
            weights: (width, width) each.
            alike: whether queries are made of the same rows as keys and values.
        """
        return [self.of(weight) for weight in weights]

    def change(self) -> None:
        """Know that an optimizer has moved the weights."""


class HalfWeights(Weights):
    """Copies in bfloat16, made once and kept until the weights change."""

    dtype = torch.bfloat16

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._stale: set[int] = set()

    def change(self) -> None:
        """Copy the weights again when they are asked for, since an optimizer has moved them."""
        self._stale.update(self._copies)

    def of(self, weight: Tensor) -> Tensor:
        """The copy of a weight."""
        return self._copy([weight])

    def beside(self, weights: Sequence[Tensor], *, alike: bool) -> list[Tensor]:
        """One copy of all, or of queries' and of the others."""
        joined = self._copy(weights)
        return [joined] if alike else [*joined.tensor_split([len(weights[0])])]

    def _copy(self, weights: Sequence[Tensor]) -> Tensor:
        name = id(weights[0])
        if name not in self._copies:
            height = sum(map(len, weights))
            copy = torch.empty(height, weights[0].shape[1], dtype=self.dtype)
            self._copies[name] = weights[0], copy  # which keeps the name from being used again
            self._stale.add(name)
        copy = self._copies[name][1]
        if name in self._stale:
            self._stale.remove(name)
            for part, weight in zip(copy.split([*map(len, weights)]), weights, strict=True):
                part.copy_(weight.detach())
        return copy


def weights_for(precision: str) -> Weights:
    """What activations are multiplied with in a precision: bf16, or fp32."""
    return HalfWeights() if precision == "bf16" else Weights()
