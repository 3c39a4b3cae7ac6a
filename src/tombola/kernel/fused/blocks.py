"""Parts of an encoder's blocks, each in one pass over memory, with their gradients.

They compute what `kernel.packed` does with torch's operators, in the C extension, in float32.
Dropout keeps no mask: a key drawn from the global generator and a value's place say whether it is
dropped, in the backward pass again.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import GELUActivation

from tombola.kernel.fused import attention, loops
from tombola.kernel.fused.attention import Attention, Texts
from tombola.kernel.fused.dropout import Dropout

__all__ = ["Places", "activate", "attend", "normalise", "places"]


@dataclass(frozen=True)
class Places:
    """The tokens whose vectors a block makes, and those that it reads."""

    rows: Tensor | None
    """Places of the first among the packed tokens; None is all of them."""
    texts: Texts


def places(tokens: Tensor, made: Tensor, read: Tensor | None, heads: int) -> tuple[Places, Places]:
    """What all blocks make, and what the last one makes.

    Args:
        tokens: (texts, length), False for padding.
        made: the same for the vectors that are packed.
        read: those that the head reads; None is all that are packed.
        heads: of a block, which say nothing here.
    """
    counts, ends = tokens.sum(1), functional.pad(made.sum(1).cumsum(0), (1, 0))
    every = Places(None, Texts(ends, ends[:-1].contiguous(), counts))
    if read is None:
        return every, every
    queries = functional.pad(read.sum(1).cumsum(0), (1, 0))
    some = read[made].nonzero().flatten()
    return every, Places(some, Texts(queries, every.texts.keys, counts))


def attend(own: Any, mine: Tensor, x: Tensor, where: Places) -> Tensor:
    """Self-attention of some tokens over all of their text: products, softmax, dropout.

    Args:
        own: the layer, with its `query`, `key`, `value`.
        mine: (queries, width).
        x: (tokens, width).
        where: the queries are among the tokens.
    """
    layers = own.query, own.key, own.value
    parameters = [each for layer in layers for each in (layer.weight, layer.bias)]
    drop = Dropout.draw(own.dropout.p if own.training else 0.0)
    options = own.num_attention_heads, where.texts, drop
    seen: Tensor = _SelfAttention.apply(mine, x, options, *parameters)  # type: ignore[no-untyped-call]
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


class _SelfAttention(torch.autograd.Function):
    """Attention of mine over x, (queries, width) and (tokens, width)."""

    @staticmethod
    def forward(
        ctx: Any,
        mine: Tensor,
        x: Tensor,
        options: tuple[int, Texts, Dropout],
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        products = [rows @ weight.T for rows, weight in zip((mine, x, x), weights, strict=True)]
        seen, chances = attention.attend(Attention(products, biases, *options))
        ctx.options, ctx.alike = options, mine is x
        ctx.save_for_backward(mine, x, chances, *products, *parameters)
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        mine, x, chances, *rest = ctx.saved_tensors
        products, weights, biases = rest[:3], rest[3::2], rest[4::2]
        what = Attention(products, biases, *ctx.options)
        d = [*map(torch.zeros_like, products)]
        dbiases = attention.attend_backward(what, chances, gradient.contiguous(), d)
        dx = torch.addmm(d[1] @ weights[1], d[2], weights[2])
        if ctx.alike:
            dmine, dx = None, dx.addmm_(d[0], weights[0])
        else:
            dmine = d[0] @ weights[0]
        dweights = [each.T @ rows for each, rows in zip(d, (mine, x, x), strict=True)]
        both = zip(dweights, dbiases, strict=True)
        return dmine, dx, None, *[each for pair in both for each in pair]
