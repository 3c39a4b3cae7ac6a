"""Encoders without padding on a GPU: all texts of a batch in one row, in few shapes.

What a step computes has the shapes of its batch, and a GPU is quick at shapes that it has met
before. So the tokens of a batch lie one after another, without padding, and are filled up to the
next of few sizes by one more text that no head reads. Attention is torch's for texts of various
lengths. Results differ from those of the model's own forward pass by rounding and by which random
bits decide what dropout drops.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from tombola.kernel.packed import PACKABLE
from tombola.kernel.reads import IGNORED, Reads
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import backbone

__all__ = ["VARLEN", "in_one_row", "packed_row", "takes_one_row"]

VARLEN = "varlen-1"
"""Name of this arithmetic in the numerics of a result; changed whenever results differ in any
bit."""
POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta")
"""Types of model whose first position is the one after that of padding."""
HEAD_STEP, LARGEST_HEAD = 8, 256
"""Attention for texts of various lengths takes heads of a multiple of this size, up to a limit."""
AMPERE = (8, 0)
"""Compute capability from which on torch has kernels of attention in bf16."""
OFFSETS, READ = "offsets", "read"
"""Inputs that are not the model's own."""
LEAST_TOKENS, LEAST_READ = 64, 32
"""Steps between the sizes of short rows, and of few tokens read."""
LONG = 4096
"""Tokens of a row from which on their number decides how long a step takes."""


def takes_one_row(model: PreTrainedModel, reads: Reads) -> bool:
    """Whether this module can do the work of the model's blocks, wherever the model is.

    Args:
        model: an encoder with a head.
        reads: which tokens the head reads; padding, which span heads score too, is left out here.
    """
    config = cast(Any, model.config)
    if config.model_type not in PACKABLE or getattr(config, "is_decoder", False):
        return False
    size = config.hidden_size // config.num_attention_heads
    return size % HEAD_STEP == 0 and size <= LARGEST_HEAD and reads is not Reads.ALL


# --- from a padded batch to one row ------------------------------------------------


def packed_row(model: PreTrainedModel, batch: Mapping[str, Tensor], reads: Reads) -> Tensors:
    """The tokens of a batch in one row, filled up to one of few sizes.

    Args:
        model: an encoder with a head.
        batch: what the model would be called with, on the CPU; padding is on the right.
        reads: which tokens the head reads.

    Returns: inputs of each token, (1, size); `offsets`, (texts + 1,), where each text begins and
        the last one ends, with one more where the row was filled up; `read`, the tokens that the
        head reads; and labels, those of tokens (1, tokens read).
    """
    tokens = batch["attention_mask"].bool()
    labels = {name: tensor for name, tensor in batch.items() if name == "labels"}
    inputs = {name: t for name, t in batch.items() if name not in ("attention_mask", "labels")}
    inputs["position_ids"] = torch.arange(tokens.shape[1]).expand(tokens.shape) + _first(model)
    inputs.setdefault("token_type_ids", torch.zeros_like(inputs["input_ids"]))
    ends = tokens.sum(1).cumsum(0)
    used = int(ends[-1])
    size = _size(used, least=LEAST_TOKENS, steps=4 if used < LONG else 8)
    row: Tensors = {name: _filled(t[tokens], size)[None] for name, t in inputs.items()}
    borders = [0, *ends.tolist(), *[size] * (size > used)]
    row[OFFSETS] = torch.tensor(borders, dtype=torch.int32)
    if reads is Reads.FIRST:
        return row | labels | {READ: row[OFFSETS][: len(tokens)].clone()}
    return row | _labelled(labels["labels"][tokens])


def _labelled(labels: Tensor) -> Tensors:
    """Where the tokens with a label are, and those labels, filled up to one of few sizes."""
    read = (labels >= 0).nonzero().flatten()
    size = _size(len(read), least=LEAST_READ, steps=2)
    return {READ: _filled(read, size), "labels": _filled(labels[read], size, IGNORED)[None]}


def _first(model: PreTrainedModel) -> int:
    """The position of the first token."""
    config = cast(Any, model.config)
    return int(config.pad_token_id) + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0


def _size(count: int, *, least: int, steps: int) -> int:
    """The next of few sizes.

    Args:
        count: the number of tokens.
        least: the smallest step from one size to the next.
        steps: how many steps there are from one power of two to the next; a power of two as well.
    """
    step = max(least, (1 << max(count.bit_length() - 1, 0)) // steps)
    return max(1, -(-count // step)) * step


def _filled(row: Tensor, size: int, value: int = 0) -> Tensor:
    return functional.pad(row, (0, size - len(row)), value=value)


# --- the blocks ----------------------------------------------------------------------


@contextmanager
def in_one_row(
    model: PreTrainedModel, row: Mapping[str, Tensor], reads: Reads, longest: int
) -> Iterator[Tensors]:
    """Compute the model's blocks here for as long as the context lasts.

    Args:
        model: an encoder with a head.
        row: what `packed_row` made, on the device of the model.
        reads: which tokens the head reads.
        longest: no text has more tokens.

    Yields: what to call the model with instead. Where the head reads labelled tokens only, logits
    are (1, tokens read, words).
    """
    encoder = cast(Any, backbone(model)).encoder
    size = row["input_ids"].numel()
    texts = _Texts(row[OFFSETS], min(max(longest, _most_filled(size)), size))
    shape = (-1, 1) if reads is Reads.FIRST else (1, -1)
    encoder.forward = partial(_encode, encoder, texts, row[READ], shape)
    try:
        yield {name: tensor for name, tensor in row.items() if name not in (OFFSETS, READ)}
    finally:
        del encoder.forward


def _most_filled(size: int) -> int:
    """The most tokens by which a row of that size was filled up."""
    return max(LEAST_TOKENS, size // 4)


@dataclass(frozen=True)
class _Texts:
    """Where the texts of a row begin and end."""

    offsets: Tensor
    longest: int
    """No text has more tokens; not more than the row."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, drop: float) -> Tensor:
        """Attention within each text: three times (tokens, heads, size) -> the same shape.

        On a GPU it calls what torch's nested tensors call, which take forty times as long to get
        there: a millisecond and more for each call.
        """
        where = (self.offsets, self.offsets, self.longest, self.longest)
        if query.device.type != "cuda":
            return self._one_by_one(query, key, value, drop)
        older = torch.cuda.get_device_capability(query.device) < AMPERE
        if query.dtype == torch.float32 or older:
            kept = torch.float32 if query.dtype == torch.bfloat16 else query.dtype
            texts = (each[None].to(kept) for each in (query, key, value))
            efficient = torch.ops.aten._efficient_attention_forward
            seen = cast(Tensor, efficient(*texts, None, *where, drop, 0, True)[0][0])
            return seen.to(query.dtype)
        flash = torch.ops.aten._flash_attention_forward
        return cast(Tensor, flash(query, key, value, *where, drop, False, False)[0])

    def _one_by_one(self, query: Tensor, key: Tensor, value: Tensor, drop: float) -> Tensor:
        ends = self.offsets.tolist()
        seen = []
        for start, end in pairwise(ends):
            q, k, v = (rows[start:end].transpose(0, 1) for rows in (query, key, value))
            text = functional.scaled_dot_product_attention(q, k, v, dropout_p=drop)
            seen.append(text.transpose(0, 1))
        return torch.cat(seen)


def _encode(
    encoder: Any,
    texts: _Texts,
    read: Tensor,
    shape: tuple[int, int],
    embeddings: Tensor,
    *_: Any,
    **__: Any,
) -> BaseModelOutputWithPastAndCrossAttentions:
    """What the encoder makes of embeddings.

    Args:
        encoder: the model's own, with its `layer`s.
        texts: where they are in the row.
        read: (tokens read,), their places in the row; those that filled it up may repeat.
        shape: the shape in which the head wants the tokens it reads, without the width.
        embeddings: (1, tokens, width).

    Returns: as `last_hidden_state` the vectors of the tokens read, (*shape, width).
    """
    x = embeddings[0]
    *blocks, last = encoder.layer
    for block in blocks:
        x = _block(block, x, texts)
    x = _block(last, x, texts, read)
    return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=x.view(*shape, x.shape[-1]))


def _block(block: Any, x: Tensor, texts: _Texts, read: Tensor | None = None) -> Tensor:
    """One block of the encoder: (tokens, width) -> (tokens read, width); by default all."""
    own = block.attention.self
    heads = own.num_attention_heads
    query, key, value = (
        made(x).unflatten(-1, (heads, -1)) for made in (own.query, own.key, own.value)
    )
    drop = own.dropout.p if own.training else 0.0
    seen = texts.attend(query, key, value, drop).flatten(1)
    if read is not None:  # whose gradient, unlike that of an index, has one order of adding up
        x, seen = functional.embedding(read, x), functional.embedding(read, seen)
    mine = block.attention.output(seen, x)
    return cast(Tensor, block.output(block.intermediate(mine), mine))
