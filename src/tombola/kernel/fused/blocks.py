"""Parts of an encoder's blocks, each in one pass over memory, with their gradients.

They compute what `kernel.packed` does with torch's operators, in the C extension. Activations, and
what they are multiplied with, are all float32 or all bfloat16; parameters and their gradients are
float32, and so is all arithmetic but the products.
Dropout keeps no mask: a key drawn from the global generator and a value's place say whether it is
dropped, in the backward pass again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tombola.kernel.activations import is_gelu
from tombola.kernel.fused import attention, loops
from tombola.kernel.fused.attention import Attention, Texts
from tombola.kernel.fused.dropout import Dropout
from tombola.kernel.fused.weights import Matrix, Weights

__all__ = ["Places", "activate", "attend", "normalise", "places"]


@dataclass(frozen=True)
class Places:
    """The tokens that a block computes vectors of, and those that it attends to."""

    rows: Tensor | None
    """Indices of the former among the packed tokens; None is all of them."""
    texts: Texts


def places(tokens: Tensor, made: Tensor, read: Tensor | None, heads: int) -> tuple[Places, Places]:
    """The tokens of all blocks, and those of the last one.

    Args:
        tokens: (texts, length), False for padding.
        made: (texts, length), True for the tokens that are packed.
        read: (texts, length), True for those that the head reads; None is all that are packed.
        heads: attention heads of a block; not used here.
    """
    counts, ends = tokens.sum(1), functional.pad(made.sum(1).cumsum(0), (1, 0))
    every = Places(None, Texts(ends, ends[:-1].contiguous(), counts))
    if read is None:
        return every, every
    queries = functional.pad(read.sum(1).cumsum(0), (1, 0))
    some = read[made].nonzero().flatten()
    return every, Places(some, Texts(queries, every.texts.keys, counts))


def attend(weights: Weights, own: Any, mine: Tensor, x: Tensor, where: Places) -> Tensor:
    """Self-attention of some tokens over all of their text: products, softmax, dropout.

    Args:
        weights: what rows are multiplied with.
        own: the layer, with its `query`, `key`, `value`.
        mine: (queries, width).
        x: (tokens, width).
        where: the queries are among the tokens.
    """
    layers = own.query, own.key, own.value
    parameters = [layer.weight for layer in layers], [layer.bias for layer in layers]
    drop = Dropout.draw(own.dropout.p if own.training else 0.0)
    matrices = weights.matrices(parameters[0], shared=mine is x)
    options = (own.num_attention_heads, where.texts, drop), matrices
    context: Tensor = _SelfAttention.apply(mine, x, options, *parameters[0], *parameters[1])  # type: ignore[no-untyped-call]
    return context


def activate(weights: Weights, intermediate: Any, x: Tensor) -> Tensor:
    """The intermediate layer of a block: its dense layer and its activation function."""
    dense, function = intermediate.dense, intermediate.intermediate_act_fn
    if not is_gelu(function) or dense.bias is None:
        half = x.dtype is torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16, enabled=half):  # on even if only blocks have it
            return cast(Tensor, intermediate(x))
    matrix = weights.matrix(dense.weight)
    active: Tensor = _LinearGelu.apply(x, matrix, dense.weight, dense.bias)  # type: ignore[no-untyped-call]
    return active


def normalise(weights: Weights, output: Any, x: Tensor, residual: Tensor) -> Tensor:
    """The output layer of a block: its dense layer, dropout, the residual and LayerNorm."""
    dense, drop, layer = output.dense, output.dropout, output.LayerNorm
    parameters = dense.weight, dense.bias, layer.weight, layer.bias
    options = (
        layer.eps,
        Dropout.draw(drop.p if drop.training else 0.0),
        weights.matrix(dense.weight),
    )
    normal: Tensor = _LinearNorm.apply(x, residual, options, *parameters)  # type: ignore[no-untyped-call]
    return normal


class _LinearGelu(torch.autograd.Function):
    """GELU of x @ weight.T + bias: (rows, in) -> (rows, out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Matrix, weight: Tensor, bias: Tensor) -> Tensor:
        product = matrix.product(x)
        active = loops.gelu(product, bias)
        ctx.matrix = matrix
        ctx.save_for_backward(x, product)
        return active

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, derivative = ctx.saved_tensors
        d, bias = loops.gelu_backward(derivative, gradient.contiguous())
        return ctx.matrix.input_gradient(d), None, ctx.matrix.weight_gradient(d, x).float(), bias


class _LinearNorm(torch.autograd.Function):
    """LayerNorm of residual + dropout(x @ weight.T + bias)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor,
        options: tuple[float, Dropout, Matrix],
        *parameters: Tensor,
    ) -> Tensor:
        (eps, ctx.dropout, ctx.matrix), (_, bias, scale, shift) = options, parameters
        product = ctx.matrix.product(x)
        out, scales = loops.norm(
            product, bias, residual, scale, shift, eps=eps, dropout=ctx.dropout
        )
        ctx.save_for_backward(x, product, scales, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, normal, scales, scale = ctx.saved_tensors
        d, bias, residual, dscale, shift = loops.norm_backward(
            normal, scales, scale, gradient.contiguous(), ctx.dropout
        )
        dx, weight = ctx.matrix.input_gradient(d), ctx.matrix.weight_gradient(d, x).float()
        return dx, residual, None, weight, bias, dscale, shift


class _SelfAttention(torch.autograd.Function):
    """Attention of mine over x, (queries, width) and (tokens, width).

    A matrix may be those of several layers below each other, whose products then are one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        mine: Tensor,
        x: Tensor,
        options: tuple[tuple[int, Texts, Dropout], list[Matrix]],
        *parameters: Tensor,
    ) -> Tensor:
        ctx.options, ctx.matrices = options
        ctx.shared, biases = mine is x, parameters[3:]
        rows = [mine, *[x] * (len(ctx.matrices) - 1)]
        products = _pieces(
            [matrix.product(each) for matrix, each in zip(ctx.matrices, rows, strict=True)], 1
        )
        context, probabilities = attention.attend(Attention(products, biases, *ctx.options))
        ctx.save_for_backward(mine, x, probabilities, *products, *biases)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        mine, x, probabilities, *rest = ctx.saved_tensors
        products, biases, matrices = rest[:3], rest[3:6], ctx.matrices
        what = Attention(products, biases, *ctx.options)
        rows = [mine, *[x] * (len(matrices) - 1)]
        d = [
            each.new_zeros(len(each), len(matrix.tensor))
            for each, matrix in zip(rows, matrices, strict=True)
        ]
        dbiases = attention.attend_backward(
            what, probabilities, gradient.contiguous(), _pieces(d, 1)
        )
        pairs = [*zip(matrices, d, strict=True)]
        dmine = None if ctx.shared else matrices[0].input_gradient(d[0])
        dx = _summed_gradient(pairs if ctx.shared else pairs[1:])
        dweights = _pieces(
            [
                matrix.weight_gradient(each, row)
                for (matrix, each), row in zip(pairs, rows, strict=True)
            ],
            0,
        )
        return dmine, dx, None, *[each.float() for each in dweights], *dbiases


def _pieces(joined: Sequence[Tensor], dim: int) -> list[Tensor]:
    """Queries, keys and values of one to three tensors in which they lie side by side."""
    size = sum(each.shape[dim] for each in joined) // 3
    return [piece for each in joined for piece in each.split(size, dim)]


def _summed_gradient(pairs: Sequence[tuple[Matrix, Tensor]]) -> Tensor:
    """The gradient of the rows of several products."""
    (first, gradient), *others = pairs
    total = first.input_gradient(gradient)
    for matrix, gradient in others:
        matrix.add_input_gradient(total, gradient)
    return total
