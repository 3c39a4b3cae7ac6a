"""The blocks of BERT-like encoders without padding, the last one for the tokens that are read only.

A head reads few of the vectors that an encoder computes: one for each text that is classified, or
those of the masked tokens. So the last block skips the others. Everything else is as in the model's
own forward pass; results differ from it by rounding, and by which random bits decide what dropout
drops.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from tombola.kernel.reads import Reads
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import backbone

__all__ = ["KERNEL", "packable", "packed"]

KERNEL = "packed-1"
"""Name of this arithmetic in the numerics of a result; raised when it makes other bits."""
PACKABLE = ("bert", "electra", "roberta", "xlm-roberta")
"""Types of model whose blocks have the parts that `_block` uses."""
LANES = 1 << 16
"""Values of the number that decides whether dropout drops a value."""


def packable(model: PreTrainedModel) -> bool:
    """Whether this module can do the work of the model's blocks, where they are."""
    config = model.config
    return (
        config.model_type in PACKABLE
        and not getattr(config, "is_decoder", False)
        and model.device.type == "cpu"
    )


@contextmanager
def packed(model: PreTrainedModel, batch: Tensors, reads: Reads) -> Iterator[Tensors]:
    """Compute the model's blocks here for as long as the context lasts.

    Args:
        model: an encoder with a head; one that is not packable computes its own blocks.
        batch: what the model would be called with; padding is on the right.
        reads: which tokens the head reads.

    Yields: what to call the model with instead. Where the head reads labelled tokens only, labels
    and logits are (1, labelled tokens, ...).
    """
    if not packable(model):
        yield batch
        return
    inputs = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
    tokens = batch["attention_mask"].bool()
    read, shape = None, tuple(tokens.shape)
    if reads is Reads.FIRST:
        read, shape = torch.zeros_like(tokens), (len(tokens), 1)
        read[:, 0] = True
    elif reads is Reads.LABELLED and "labels" in batch:
        read = batch["labels"] >= 0
        inputs["labels"] = batch["labels"][read][None]
        shape = tuple(inputs["labels"].shape)
    encoder = cast(Any, backbone(model)).encoder
    encoder.forward = partial(_encode, encoder, tokens, read, shape)
    try:
        yield inputs
    finally:
        del encoder.forward


def _encode(
    encoder: Any,
    tokens: Tensor,
    read: Tensor | None,
    shape: tuple[int, ...],
    embeddings: Tensor,
    *_: Any,
    **__: Any,
) -> BaseModelOutputWithPastAndCrossAttentions:
    """What the encoder makes of embeddings.

    Args:
        encoder: the model's own, with its `layer`s.
        tokens: (texts, length), False for padding.
        read: (texts, length), the tokens that the head reads; None is all of them and padding,
            which the heads of spans score as well.
        shape: that the head wants them in, the width apart.
        embeddings: (texts, length, width).

    Returns: as `last_hidden_state` the vectors of the tokens read, (*shape, width).
    """
    heads, width = encoder.config.num_attention_heads, embeddings.shape[-1]
    made = torch.ones_like(tokens) if read is None else tokens
    every = Queries(None, Route.of(made, heads=heads))
    some = every if read is None else Queries.of(tokens, read, heads)
    padding = None if tokens.all() else _padding(tokens, heads).to(embeddings.dtype)
    x = _unpad(embeddings.reshape(-1, width), Route.of(made))
    *blocks, last = encoder.layer
    for block in blocks:
        x = _block(block, x, every.route, padding, every)
    x = _block(last, x, every.route, padding, some)
    return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=x.view(*shape, width))


def _block(
    block: Any, x: Tensor, keys: "Route", padding: Tensor | None, wanted: "Queries"
) -> Tensor:
    """One block of the encoder: (tokens, width) -> (tokens read, width)."""
    own, attention, output = block.attention.self, block.attention.output, block.output
    mine = x if wanted.rows is None else x.index_select(0, wanted.rows)
    queries = _spread(own.query(mine), wanted.route)
    key, value = _spread(own.key(x), keys), _spread(own.value(x), keys)
    drop = own.dropout.p if own.training else 0.0
    seen = _attend(queries, key, value, padding, drop)
    seen = _unpad(seen.flatten(0, 1), wanted.route).view(mine.shape)
    mine = attention.LayerNorm(_add(mine, attention.dense(seen), attention.dropout))
    inner = block.intermediate(mine)
    return cast(Tensor, output.LayerNorm(_add(mine, output.dense(inner), output.dropout)))


def _spread(rows: Tensor, route: "Route") -> Tensor:
    """(tokens, width) -> (texts x heads, length, width of a head)."""
    pieces = rows.view(len(route.back), -1)
    return _pad(pieces, route).view(*route.shape, pieces.shape[-1])


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, padding: Tensor | None, drop: float
) -> Tensor:
    """Attention: (texts x heads, queries, size) and twice (texts x heads, length, size)."""
    start = queries.new_zeros(1) if padding is None else padding
    scale = queries.shape[-1] ** -0.5
    scores = torch.baddbmm(start, queries, keys.transpose(1, 2), alpha=scale)
    chances = scores.softmax(-1)
    if drop:
        chances = chances * _kept(chances, drop)
    return torch.bmm(chances, values)


def _padding(tokens: Tensor, heads: int) -> Tensor:
    """What is added to the scores: (texts x heads, 1, length), -inf for padding."""
    padding = torch.zeros(tokens.shape).masked_fill_(~tokens, -torch.inf)
    return padding.repeat_interleave(heads, dim=0)[:, None]


def _add(x: Tensor, change: Tensor, dropout: nn.Dropout) -> Tensor:
    """X and what dropout leaves of a change."""
    if not dropout.training or not dropout.p:
        return x + change
    return torch.addcmul(x, change, _kept(change, dropout.p))


def _kept(like: Tensor, drop: float) -> Tensor:
    """A tensor of 0 where a value is dropped, and of what makes up for it elsewhere.

    Sixteen bits of the global generator decide for each value, so that four of them take one
    draw. The chance to be dropped is within 2**-17 of what is asked for, and the mean exact.
    """
    dropped = min(round(drop * LANES), LANES - 1)
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: like.numel()].view(like.shape)
    return (bits >= dropped - LANES // 2).to(like.dtype).mul_(LANES / (LANES - dropped))


# --- from tokens to padded texts, and back -----------------------------------


@dataclass(frozen=True)
class Route:
    """Where each row of a packed tensor is in a padded one."""

    shape: tuple[int, int]
    """Texts x heads, length."""
    there: Tensor
    """The packed row of each padded one; of a hole some row."""
    back: Tensor
    """The padded row of each packed one."""
    holes: Tensor
    """The padded rows that have no packed one."""

    @classmethod
    def of(cls, tokens: Tensor, *, heads: int = 1) -> "Route":
        """From (tokens x heads) rows to (texts x heads, length).

        Args:
            tokens: (texts, length), False where a padded row is a hole.
            heads: pieces of each token's vector, which lie side by side when packed.
        """
        texts, length = tokens.shape
        number = (tokens.flatten().cumsum(0) - 1).clamp_(min=0).view(texts, 1, length)
        there = number * heads + torch.arange(heads).view(1, -1, 1)
        slots = torch.arange(there.numel()).view(there.shape)
        return cls(
            shape=(texts * heads, length),
            there=there.flatten(),
            back=slots.transpose(1, 2)[tokens].flatten(),
            holes=slots[(~tokens)[:, None].expand(there.shape)],
        )


@dataclass(frozen=True)
class Queries:
    """The tokens whose vectors a block makes."""

    rows: Tensor | None
    """Their places among the packed tokens; None is all of them."""
    route: Route
    """Where their queries are in the padded texts."""

    @classmethod
    def of(cls, tokens: Tensor, read: Tensor, heads: int) -> "Queries":
        """Some of the tokens: both are (texts, length)."""
        counts = read.sum(1)
        filled = torch.arange(int(counts.max())) < counts[:, None]
        return cls(read[tokens].nonzero().flatten(), Route.of(filled, heads=heads))


def _pad(rows: Tensor, route: Route) -> Tensor:
    """Packed rows in their padded places, and 0 in the holes."""
    padded: Tensor = _Pad.apply(rows, route)  # type: ignore[no-untyped-call]
    return padded


def _unpad(rows: Tensor, route: Route) -> Tensor:
    """Padded rows without the holes."""
    kept: Tensor = _Unpad.apply(rows, route)  # type: ignore[no-untyped-call]
    return kept


def _fill(rows: Tensor, route: Route) -> Tensor:
    padded = rows.index_select(0, route.there)
    return padded.index_fill_(0, route.holes, 0.0) if len(route.holes) else padded


class _Pad(torch.autograd.Function):
    """Each row goes to one place, so that its gradient is a copy where autograd's is a sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, route: Route) -> Tensor:
        ctx.route = route
        return _fill(rows, route)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.route.back), None


class _Unpad(torch.autograd.Function):
    """The way back: packed rows of padded ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, route: Route) -> Tensor:
        ctx.route = route
        return rows.index_select(0, route.back)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _fill(gradient, ctx.route), None
