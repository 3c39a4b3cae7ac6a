"""The weights that activations are multiplied with: as they are, or copies in bfloat16."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["HalfWeights", "Matrix", "Weights", "weights_for"]


class Matrix:
    """A weight, or its copy, in the products of a linear layer.

    Args:
        tensor: (out, in); rows are multiplied with its transpose.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def product(self, rows: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        return rows @ self.tensor.T

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of the rows, from that of the product: (rows, out) -> (rows, in)."""
        return gradient @ self.tensor

    def add_input_gradient(self, total: Tensor, gradient: Tensor) -> None:
        """Add that gradient to a total of its shape, in place."""
        total.addmm_(gradient, self.tensor)

    def weight_gradient(self, gradient: Tensor, rows: Tensor) -> Tensor:
        """The gradient of the weight, of its shape; it may be 0 where the weight is pruned."""
        return gradient.T @ rows


class Weights:
    """The weights themselves, for activations in float32."""

    dtype = torch.float32

    def of(self, weight: Tensor) -> Tensor:
        """The tensor to multiply with in place of a weight."""
        return weight.detach()

    def stacked(self, weights: Sequence[Tensor], *, shared: bool) -> list[Tensor]:
        """What `of` returns for queries, keys and values, some of them maybe stacked into a matrix.

        Args:
            weights: (width, width) each.
            shared: whether queries are computed from the same rows as keys and values.
        """
        return [self.of(weight) for weight in weights]

    def matrix(self, weight: Tensor) -> Matrix:
        """The matrix to multiply with."""
        return Matrix(self.of(weight))

    def matrices(self, weights: Sequence[Tensor], *, shared: bool) -> list[Matrix]:
        """Those of queries, keys and values; see `stacked`."""
        return [*map(Matrix, self.stacked(weights, shared=shared))]

    def invalidate(self) -> None:
        """Called after an optimizer has changed the weights."""


class HalfWeights(Weights):
    """Copies in bfloat16, made once and kept until the weights change."""

    dtype = torch.bfloat16

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._stale: set[int] = set()

    def invalidate(self) -> None:
        """Copy the weights again on next use, because an optimizer has changed them."""
        self._stale.update(self._copies)

    def of(self, weight: Tensor) -> Tensor:
        """The copy of a weight."""
        return self._copy([weight])

    def stacked(self, weights: Sequence[Tensor], *, shared: bool) -> list[Tensor]:
        """One copy of all three, or one of the queries' and one of the other two."""
        joined = self._copy(weights)
        return [joined] if shared else [*joined.tensor_split([len(weights[0])])]

    def _copy(self, weights: Sequence[Tensor]) -> Tensor:
        name = id(weights[0])
        if name not in self._copies:
            height = sum(map(len, weights))
            copy = torch.empty(height, weights[0].shape[1], dtype=self.dtype)
            self._copies[name] = weights[0], copy  # the weight keeps its id from being used again
            self._stale.add(name)
        copy = self._copies[name][1]
        if name in self._stale:
            self._stale.remove(name)
            for part, weight in zip(copy.split([*map(len, weights)]), weights, strict=True):
                part.copy_(weight.detach())
        return copy


def weights_for(precision: str) -> Weights:
    """The weights that activations in a precision, bf16 or fp32, are multiplied with."""
    return HalfWeights() if precision == "bf16" else Weights()
