"""Parts of an encoder's blocks, each in one pass over memory, with their gradients.

They compute what `kernel.packed` does with torch's operators, in the C extension, in float32.
Dropout keeps no mask: a key drawn from the global generator and a value's place say whether it is
dropped, in the backward pass again.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import GELUActivation

from tombola.kernel.fused import loops
from tombola.kernel.fused.loops import Dropout

__all__ = ["activate", "attend", "lengths", "normalise"]


def lengths(tokens: Tensor, heads: int) -> Tensor:
    """Tokens of each text for each head, (texts x heads), of (texts, length), True for a token."""
    return tokens.sum(1).repeat_interleave(heads)


def attend(queries: Tensor, keys: Tensor, values: Tensor, counts: Tensor, chance: float) -> Tensor:
    """Attention over the first keys of each group, with dropout.

    Args:
        queries: (groups, queries, size).
        keys: (groups, length, size).
        values: (groups, length, size).
        counts: keys of each group that count, (groups).
        chance: that dropout drops a weight.
    """
    options = counts, Dropout.draw(chance)
    seen: Tensor = _Attention.apply(queries, keys, values, options)  # type: ignore[no-untyped-call]
    return seen


def activate(intermediate: Any, x: Tensor) -> Tensor:
    """The intermediate layer of a block: its dense layer and its activation function."""
    dense, function = intermediate.dense, intermediate.intermediate_act_fn
    if not _is_gelu(function) or dense.bias is None:
        return cast(Tensor, intermediate(x))
    active: Tensor = _LinearGelu.apply(x, dense.weight, dense.bias)  # type: ignore[no-untyped-call]
    return active


def normalise(output: Any, x: Tensor, residual: Tensor) -> Tensor:
    """The output layer of a block: its dense layer, dropout, the residual and LayerNorm."""
    dense, drop, layer = output.dense, output.dropout, output.LayerNorm
    parameters = dense.weight, dense.bias, layer.weight, layer.bias
    options = layer.eps, Dropout.draw(drop.p if drop.training else 0.0)
    normal: Tensor = _LinearNorm.apply(x, residual, options, *parameters)  # type: ignore[no-untyped-call]
    return normal


def _is_gelu(function: Any) -> bool:
    """Whether an activation function is GELU as it is defined, by erf."""
    exact = isinstance(function, nn.GELU) and function.approximate == "none"
    return exact or (isinstance(function, GELUActivation) and function.act is functional.gelu)


class _LinearGelu(torch.autograd.Function):
    """GELU of x @ weight.T + bias: (rows, in) -> (rows, out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        product = x @ weight.T
        active = loops.gelu(product, bias)
        ctx.save_for_backward(x, weight, product)
        return active

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, derivative = ctx.saved_tensors
        d, bias = loops.gelu_backward(derivative, gradient.contiguous())
        return d @ weight, d.T @ x, bias


class _LinearNorm(torch.autograd.Function):
    """LayerNorm of residual + dropout(x @ weight.T + bias)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor, options: tuple[float, Dropout], *parameters: Tensor
    ) -> Tensor:
        (eps, ctx.dropout), (weight, bias, scale, shift) = options, parameters
        product = x @ weight.T
        out, scales = loops.norm(
            product, bias, residual, scale, shift, eps=eps, dropout=ctx.dropout
        )
        ctx.save_for_backward(x, weight, product, scales, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, normal, scales, scale = ctx.saved_tensors
        d, bias, residual, dscale, shift = loops.norm_backward(
            normal, scales, scale, gradient.contiguous(), ctx.dropout
        )
        return d @ weight, residual, None, d.T @ x, bias, dscale, shift


class _Attention(torch.autograd.Function):
    """Dropout of the softmax of queries times keys, times values."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, options: tuple[Tensor, Dropout]
    ) -> Tensor:
        counts, ctx.dropout = options
        ctx.factor = queries.shape[-1] ** -0.5
        chances = queries @ keys.transpose(1, 2)
        dropped = loops.softmax(chances, counts, ctx.factor, ctx.dropout)
        ctx.save_for_backward(queries, keys, values, chances, dropped)
        return dropped @ values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, chances, dropped = ctx.saved_tensors
        back = gradient @ values.transpose(1, 2)
        scores = loops.softmax_backward(chances, back, ctx.factor, ctx.dropout)
        own, other = scores @ keys, scores.transpose(1, 2) @ queries
        return own, other, dropped.transpose(1, 2) @ gradient, None
