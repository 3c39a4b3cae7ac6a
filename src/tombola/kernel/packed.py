"""The blocks of BERT-like encoders without padding, the last one for the tokens that are read only.

A head reads few of the vectors that an encoder computes: one for each text that is classified, or
those of the masked tokens. So the last block skips the others. Everything else is as in the model's
own forward pass; results differ from it by rounding, and by which random bits decide what dropout
drops.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from tombola.base.specs import IN_C
from tombola.kernel.fused import blocks
from tombola.kernel.fused.weights import Weights
from tombola.kernel.reads import Reads
from tombola.kernel.routes import Queries, Route, pad, unpad
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import backbone

__all__ = ["FUSED", "KERNEL", "SPARSE", "SPARSE_ALWAYS", "packable", "packed"]

KERNEL = "packed-1"
"""Name of this arithmetic in the numerics of a result; changed whenever results differ in any
bit."""
FUSED, SPARSE, SPARSE_ALWAYS = IN_C
"""Names of the same with the parts of `kernel.fused.blocks`, changed likewise; and of FUSED with
linear layers that skip pruned weights in training, see `kernel.sparse.masked`: where the table of
crossovers says that it pays, or always."""
WHOLE = Weights()
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
def packed(
    model: PreTrainedModel,
    batch: Tensors,
    reads: Reads,
    kernel: str = KERNEL,
    weights: Weights = WHOLE,
    *,
    states: list[Tensor] | None = None,
) -> Iterator[Tensors]:
    """Compute the model's blocks here for as long as the context lasts.

    Args:
        model: an encoder with a head; one that is not packable computes its own blocks.
        batch: what the model would be called with; padding is on the right.
        reads: which tokens the head reads.
        kernel: KERNEL, or one of those in C.
        weights: what those in C multiply with, which decides what activations are kept in.
        states: where to put the embeddings and what each block makes of them, (tokens, width)
            without padding; then the last block skips no token.

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
    parts = PARTS if kernel == KERNEL else _fused_parts(weights)
    encoder.forward = partial(_encode, encoder, tokens, read, shape, parts=parts, states=states)
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
    parts: "Parts",
    states: list[Tensor] | None = None,
    **__: Any,
) -> BaseModelOutputWithPastAndCrossAttentions:
    """What the encoder makes of embeddings.

    Args:
        encoder: the model's own, with its `layer`s.
        tokens: (texts, length), False for padding.
        read: (texts, length), the tokens that the head reads; None is all of them and padding,
            which the heads of spans score as well.
        shape: the shape in which the head wants them, without the width.
        embeddings: (texts, length, width).
        parts: what computes the parts of a block.
        states: where to put hidden states, if they are wanted.

    Returns: as `last_hidden_state` the vectors of the tokens read, (*shape, width).
    """
    heads, width = encoder.config.num_attention_heads, embeddings.shape[-1]
    made = torch.ones_like(tokens) if read is None else tokens
    every, some = parts.places(tokens, made, read, heads)
    x = unpad(embeddings.reshape(-1, width), Route.of(made))
    x = x if parts.dtype is None else x.to(parts.dtype)
    *blocks, last = encoder.layer
    for block in blocks:
        _keep(states, x, tokens[made])
        x = _block(block, x, every, parts=parts)
    _keep(states, x, tokens[made])
    x = _block(last, x, some if states is None else every, parts=parts)
    _keep(states, x, tokens[made])
    x = x if states is None or read is None else x[read[made]]
    return BaseModelOutputWithPastAndCrossAttentions(
        last_hidden_state=x.to(embeddings.dtype).view(*shape, width)
    )


def _keep(states: list[Tensor] | None, x: Tensor, real: Tensor) -> None:
    """Keep the vectors of what is no padding, if they are wanted."""
    if states is not None:
        states.append(x[real])


@dataclass(frozen=True)
class Parts:
    """What computes the parts of a block."""

    places: Callable[[Tensor, Tensor, Tensor | None, int], tuple[Any, Any]]
    """The tokens that every block makes vectors of, and those of the last one, from (texts, length)
    three times: False for padding, True for what is packed and for what the head reads."""
    attend: Callable[[Any, Tensor, Tensor, Any], Tensor]
    """Self-attention of some rows over all rows of their texts, by those places."""
    activate: Callable[[Any, Tensor], Tensor]
    """The intermediate layer."""
    normalise: Callable[[Any, Tensor, Tensor], Tensor]
    """An output layer, the residual added."""
    dtype: torch.dtype | None = None
    """The dtype of activations; None is that of the embeddings."""


def _block(block: Any, x: Tensor, places: Any, *, parts: Parts) -> Tensor:
    """One block of the encoder: (tokens, width) -> (tokens made, width)."""
    mine = x if places.rows is None else x.index_select(0, places.rows)
    context = parts.attend(block.attention.self, mine, x, places)
    mine = parts.normalise(block.attention.output, context, mine)
    return parts.normalise(block.output, parts.activate(block.intermediate, mine), mine)


# --- torch's operators --------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """Where queries and keys are in padded texts."""

    keys: Route
    queries: Queries
    padding: Tensor | None

    @property
    def rows(self) -> Tensor | None:
        """The rows of the queries among the packed tokens; None is all."""
        return self.queries.rows


def _places(
    tokens: Tensor, made: Tensor, read: Tensor | None, heads: int
) -> tuple[_Places, _Places]:
    keys, padding = Route.of(made, heads=heads), _padding(tokens, heads)
    every = _Places(keys, Queries(None, keys), padding)
    if read is None:
        return every, every
    return every, _Places(keys, Queries.of(tokens, read, heads), padding)


def _self_attend(own: Any, mine: Tensor, x: Tensor, places: _Places) -> Tensor:
    queries = _spread(own.query(mine), places.queries.route)
    key, value = _spread(own.key(x), places.keys), _spread(own.value(x), places.keys)
    drop = own.dropout.p if own.training else 0.0
    context = _attend(queries, key, value, places.padding, drop)
    return unpad(context.flatten(0, 1), places.queries.route).view(mine.shape)


def _spread(rows: Tensor, route: Route) -> Tensor:
    """(tokens, width) -> (texts x heads, length, width of a head)."""
    pieces = rows.view(len(route.back), -1)
    return pad(pieces, route).view(*route.shape, pieces.shape[-1])


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, padding: Tensor | None, drop: float
) -> Tensor:
    """Attention: (texts x heads, queries, size) and twice (texts x heads, length, size)."""
    start = queries.new_zeros(1) if padding is None else padding.to(queries.dtype)
    scale = queries.shape[-1] ** -0.5
    scores = torch.baddbmm(start, queries, keys.transpose(1, 2), alpha=scale)
    probabilities = scores.softmax(-1)
    if drop:
        probabilities = probabilities * _kept(probabilities, drop)
    return torch.bmm(probabilities, values)


def _padding(tokens: Tensor, heads: int) -> Tensor | None:
    """What is added to the scores: (texts x heads, 1, length), -inf for padding; None for 0."""
    if tokens.all():
        return None
    padding = torch.zeros(tokens.shape).masked_fill_(~tokens, -torch.inf)
    return padding.repeat_interleave(heads, dim=0)[:, None]


def _activate(intermediate: Any, x: Tensor) -> Tensor:
    return cast(Tensor, intermediate(x))


def _normalise(output: Any, x: Tensor, residual: Tensor) -> Tensor:
    return cast(Tensor, output.LayerNorm(_add(residual, output.dense(x), output.dropout)))


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


PARTS = Parts(_places, _self_attend, _activate, _normalise)


def _fused_parts(weights: Weights) -> Parts:
    """The parts in C, which multiply with these."""
    return Parts(
        blocks.places,
        partial(blocks.attend, weights),
        partial(blocks.activate, weights),
        partial(blocks.normalise, weights),
        weights.dtype,
    )
