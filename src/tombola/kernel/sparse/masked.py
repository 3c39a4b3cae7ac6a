"""Linear layers in training whose products skip pruned weights, where that is faster.

The weights stay in their dense matrices, with their zeros, as optimizers and masks want them; a
product copies those that are kept out of them, which takes little time next to the product.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from tombola.kernel.fused.weights import Matrix, Weights
from tombola.kernel.sparse import products
from tombola.kernel.sparse.crossovers import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, pays
from tombola.kernel.sparse.packing import Packed

__all__ = ["MaskedMatrix", "MaskedWeights", "skipping"]


class MaskedMatrix(Matrix):
    """A weight in float32 on the CPU under a mask, in products that may skip what is pruned.

    Args:
        weight: (out, in), zero where it is pruned; its values may change, its mask does not.
        kept: bool, of the same shape.
        always: skip pruned weights whatever the table of crossovers says.
        transposed: whether the weight is stored as (in, out).
    """

    def __init__(
        self, weight: Tensor, kept: Tensor, *, always: bool = False, transposed: bool = False
    ) -> None:
        super().__init__(weight.detach().T if transposed else weight.detach())
        self.weight, self.kept = weight.detach(), kept
        self.always, self.transposed = always, transposed
        self.sparsity = 1 - int(kept.sum()) / max(1, kept.numel())

    @cached_property
    def _pattern(self) -> Packed:
        return Packed.pattern(self.kept, transposed=self.transposed)

    @cached_property
    def _pattern_back(self) -> Packed:
        return Packed.pattern(self.kept, transposed=not self.transposed)

    def product(self, rows: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        if not self._skips(FORWARD, len(rows)):
            return super().product(rows)
        return products.product(rows, self._pattern.taken_from(self.weight), None)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of the rows, from that of the product: (rows, out) -> (rows, in)."""
        if not self._skips(INPUT_GRADIENT, len(gradient)):
            return super().input_gradient(gradient)
        return products.product(gradient, self._pattern_back.taken_from(self.weight), None)

    def add_input_gradient(self, total: Tensor, gradient: Tensor) -> None:
        """Add that gradient to a total of its shape, in place."""
        if self._skips(INPUT_GRADIENT, len(gradient)):
            total.add_(self.input_gradient(gradient))
        else:
            super().add_input_gradient(total, gradient)

    def weight_gradient(self, gradient: Tensor, rows: Tensor) -> Tensor:
        """The gradient of the weight, of its shape; +0.0 of what is pruned, if that is skipped."""
        if not self._skips(WEIGHT_GRADIENT, len(rows)):
            whole = super().weight_gradient(gradient, rows)
            return whole.T if self.transposed else whole
        whole = torch.zeros(self.weight.numel())
        places = self._pattern.values
        unread = replace(self._pattern, values=torch.empty(len(places)))
        found = products.gradient(rows, gradient, unread)
        return whole.index_copy_(0, places.long(), found).view(self.weight.shape)

    def skips_any(self, rows: int) -> bool:
        """Whether any product of so many rows skips pruned weights."""
        return any(self._skips(w, rows) for w in (FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT))

    def _skips(self, work: str, rows: int) -> bool:
        """Whether a product skips pruned weights."""
        height, width = self.tensor.shape
        sizes = (height, width) if work == INPUT_GRADIENT else (width, height)
        threads = torch.get_num_threads()
        return self.always or pays(*sizes, self.sparsity, rows, work=work, threads=threads)


class MaskedWeights(Weights):
    """The weights of a network in training; those that a mask prunes skip what is pruned.

    Args:
        masks: weight -> bool, of its shape; all other weights are dense.
        always: skip pruned weights whatever the table of crossovers says.
    """

    def __init__(self, masks: Mapping[Tensor, Tensor], *, always: bool = False) -> None:
        self._masks, self._always = masks, always
        self._matrices: dict[Tensor, MaskedMatrix] = {}

    def matrix(self, weight: Tensor) -> Matrix:
        """The matrix to multiply with."""
        found = self.pruned(weight)
        return super().matrix(weight) if found is None else found

    def matrices(self, weights: Sequence[Tensor], *, shared: bool) -> list[Matrix]:
        """Those of queries, keys and values, one for each."""
        return [*map(self.matrix, weights)]

    def pruned(self, weight: Any, *, transposed: bool = False) -> MaskedMatrix | None:
        """The matrix of a weight that a mask prunes; None for any other."""
        if weight not in self._masks:
            return None
        if weight not in self._matrices:
            self._matrices[weight] = MaskedMatrix(
                weight, self._masks[weight], always=self._always, transposed=transposed
            )
        return self._matrices[weight]


@contextmanager
def skipping(model: nn.Module, weights: Weights) -> Iterator[None]:
    """Let linear layers that compute themselves skip pruned weights, as long as the context lasts.

    Args:
        model: a network in training.
        weights: the network's weights; nothing changes unless they are MaskedWeights.
    """
    changed: list[Any] = []
    if isinstance(weights, MaskedWeights):
        changed += _layers_of(model, weights)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward


def _layers_of(model: nn.Module, weights: MaskedWeights) -> Iterator[nn.Module]:
    """The layers that now skip pruned weights; nobody else has replaced how they compute."""
    for layer in model.modules():
        if type(layer) in (nn.Linear, Conv1D) and "forward" not in vars(layer):
            matrix = weights.pruned(layer.weight, transposed=type(layer) is Conv1D)
            if matrix is not None:
                layer.forward = partial(_linear, layer, matrix, layer.forward)
                yield layer


def _linear(layer: Any, matrix: MaskedMatrix, dense: Any, x: Tensor) -> Tensor:
    """What a layer computes of (..., in): (..., out)."""
    rows = x.reshape(-1, x.shape[-1])
    if not matrix.skips_any(len(rows)):
        found: Tensor = dense(x)
        return found
    y: Tensor = _MaskedLinear.apply(rows, matrix, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])


class _MaskedLinear(torch.autograd.Function):
    """x @ matrix.T + bias, with gradients of x, the weight and the bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: MaskedMatrix, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(x)
        y = matrix.product(x)
        return y if bias is None else y + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,), matrix = ctx.saved_tensors, ctx.matrix
        wants_x, _, wants_weight, wants_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        return (
            matrix.input_gradient(gradient) if wants_x else None,
            None,
            matrix.weight_gradient(gradient, x) if wants_weight else None,
            gradient.sum(0) if wants_bias else None,
        )
