"""A linear layer that stores and multiplies non-zero weights only."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tombola.kernel.sparse.crossovers import pays
from tombola.kernel.sparse.packing import DTYPES, Packed
from tombola.kernel.sparse.products import Operand, available, dense, multiply

__all__ = ["SparseLinear"]

PARTS = "values", "columns", "order", "counts", "starts", "scales"
DENSE_FROM = 256
"""Tokens from which unpacking the dense weight for one product takes negligible time."""


class SparseLinear(nn.Module):
    """y = x W.T + b, or GELU of it, with a W that is stored without its zeros, on the CPU.

    Made by `from_linear`, for inference. Sums are in float32, whatever the weights are stored as.
    """

    values: Tensor
    columns: Tensor
    order: Tensor
    counts: Tensor
    starts: Tensor
    scales: Tensor | None
    bias: nn.Parameter | None
    gelu = False
    """Whether GELU is applied to the result, in the same pass over it."""

    def __init__(self, weight: Packed, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.values = nn.Parameter(weight.values, requires_grad=False)
        for name in PARTS[1:]:
            self.register_buffer(name, getattr(weight, name))
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self._operand: tuple[list[int], Operand] | None = None

    @classmethod
    def from_linear(cls, linear: nn.Linear, *, dtype: str = "float32") -> Self:
        """A layer with the non-zero weights of another, which stays as it is.

        Args:
            linear: a layer on the CPU.
            dtype: how weights are stored: float32 as they are, bfloat16, or int8 with a
                scale for each row.

        Raises: ValueError, for another dtype or device.
        """
        if dtype not in DTYPES:
            raise ValueError(f"expected a dtype of {', '.join(DTYPES)}, got {dtype!r}")
        if linear.weight.device.type != "cpu":
            raise ValueError(f"expected a layer on the CPU, got one on {linear.weight.device}")
        bias = None if linear.bias is None else linear.bias.detach().float().clone()
        return cls(Packed.of(linear.weight, dtype), bias)

    @property
    def weight(self) -> Packed:
        """The non-zero weights and their positions."""
        shape = self.out_features, self.in_features
        return Packed(shape, *(getattr(self, name) for name in PARTS))

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are zero."""
        return 1 - self.values.numel() / max(1, self.out_features * self.in_features)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the weights and the bias take."""
        return sum(each.nbytes for each in (*self.parameters(), *self.buffers()))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), of the dtype of x.

        Raises: ValueError, for another width, where gradients are wanted, or if parts were changed
            and don't fit each other.
        """
        if not x.dim() or x.shape[-1] != self.in_features:
            raise ValueError(f"expected (..., {self.in_features}), got {tuple(x.shape)}")
        y = self._product(x.reshape(-1, self.in_features).float())
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)

    def _product(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            *parts, scales = (getattr(self, name) for name in PARTS)
            shape = self.out_features, self.in_features
            y: Tensor = _opaque(x, parts, scales, self.bias, shape, gelu=self.gelu)
            return y
        if torch.is_grad_enabled() and (x.requires_grad or self._trains()):
            raise ValueError(
                "a sparse layer records no gradients, got an input or weights that require them. "
                "Call it under torch.no_grad(), or train the network that it was made from."
            )
        return self._computed(x)

    def _computed(self, x: Tensor) -> Tensor:
        if not available():
            _warn()
            y = functional.linear(x, self.weight.dense(), self.bias)
        elif self._is_better_dense(len(x)):
            y = functional.linear(x, dense(self.weight), self.bias)
        else:
            return multiply(x, self.operand(), gelu=self.gelu)
        return functional.gelu(y) if self.gelu else y

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half` and the like do: the weights are moved and keep their dtype."""

        def moved(part: Tensor) -> Tensor:
            made = fn(part)
            return made if made.dtype == part.dtype else part.to(made.device)

        applied: Self = super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return applied

    def _trains(self) -> bool:
        return any(each.requires_grad for each in self.parameters())

    def _is_better_dense(self, tokens: int) -> bool:
        dtype = str(self.values.dtype).removeprefix("torch.")
        sizes = self.in_features, self.out_features, self.sparsity, tokens
        return tokens >= DENSE_FROM and not pays(
            *sizes, work=dtype, threads=torch.get_num_threads()
        )

    def operand(self) -> Operand:
        """The weight and the bias for the extension; they are checked when their memory is new."""
        parts = *self._parameters.values(), *self._buffers.values()
        places = [0 if each is None else each.data_ptr() for each in parts]
        if self._operand is None or self._operand[0] != places:
            self._operand = places, Operand.of(self.weight, self.bias)
        return self._operand[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_operand": None}

    def extra_repr(self) -> str:
        """What `repr` shows in the brackets."""
        dtype = str(self.values.dtype).removeprefix("torch.")
        sizes = f"{self.in_features}, {self.out_features}, {dtype}, sparsity={self.sparsity:.3f}"
        return f"{sizes}, gelu" if self.gelu else sizes


@cache
def _warn() -> None:
    """Warn once that there is no extension."""
    warnings.warn("tombola has no C extension here, so sparse layers are dense", stacklevel=2)


@torch.library.custom_op("tombola::sparse_linear", mutates_args=())
def _opaque(
    x: Tensor,
    parts: Sequence[Tensor],
    scales: Tensor | None,
    bias: Tensor | None,
    shape: Sequence[int],
    *,
    gelu: bool,
) -> Tensor:
    """A layer's product for what records calls to do them again: it can't look into the C
    extension, and would keep addresses of tensors that are gone.

    Args:
        x: (tokens, in).
        parts: those of the weight, but for the scales.
        scales: those of the weight.
        bias: (out).
        shape: (out, in).
        gelu: whether a GELU follows, as in the layer.
    """
    outputs, inputs = shape
    values, columns, order, counts, starts = parts
    weight = Packed((outputs, inputs), values, columns, order, counts, starts, scales)
    layer = SparseLinear(weight, bias)
    layer.gelu = gelu
    return layer._computed(x)


@_opaque.register_fake
def _(x: Tensor, _1: Any, _2: Any, _3: Any, shape: Sequence[int], **_: Any) -> Tensor:
    return x.new_empty(x.shape[0], shape[0])
