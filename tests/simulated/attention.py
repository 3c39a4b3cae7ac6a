"""Attention of texts in one row, as the kernels that only a card has compute it."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

__all__ = ["ATTENTION"]

aten = torch.ops.aten


def _texts(offsets: Tensor, *tensors: Tensor) -> Any:
    """The texts of rows (tokens, heads, size): each as (heads, tokens, size) in float32."""
    for start, end in pairwise(map(int, offsets)):
        yield tuple(each[start:end].transpose(0, 1).float() for each in tensors)


def _kept(like: Tensor, drop: float, drawn: torch.Generator) -> Tensor:
    """What dropout multiplies by."""
    if not drop:
        return torch.ones_like(like)
    return (torch.rand(like.shape, generator=drawn) >= drop) / (1 - drop)


def _row(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.cat([each.transpose(0, 1) for each in parts]).to(like.dtype)


def _forward(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, drop: float) -> Any:
    """What each text sees, and the seed that decides what is dropped."""
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert offsets.dtype == torch.int32
    assert int(offsets[-1]) == len(query)
    seed = torch.randint(2**31, ())
    drawn = torch.Generator().manual_seed(int(seed))
    made = []
    for q, k, v in _texts(offsets, query, key, value):
        shares = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
        made.append(shares * _kept(shares, drop, drawn) @ v)
    return _row(made, query), seed


def _backward(
    gradient: Tensor, read: tuple[Tensor, ...], offsets: Tensor, drop: float, seed: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of query, key and value, which are what was read."""
    drawn = torch.Generator().manual_seed(int(seed))
    found: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for g, q, k, v in _texts(offsets, gradient, *read):
        scale = q.shape[-1] ** -0.5
        shares = (q @ k.transpose(1, 2) * scale).softmax(-1)
        kept = _kept(shares, drop, drawn)
        wanted = g @ v.transpose(1, 2) * kept
        scores = shares * (wanted - (wanted * shares).sum(-1, keepdim=True)) * scale
        for place, made in zip(
            found,
            (scores @ k, scores.transpose(1, 2) @ q, (shares * kept).transpose(1, 2) @ g),
            strict=True,
        ):
            place.append(made)
    return tuple(_row(each, like) for each, like in zip(found, read, strict=True))


def flash(*args: Any, **_: Any) -> Any:
    """`_flash_attention_forward`: sixteen bits alone."""
    query, key, value, offsets, drop = *args[:4], args[7]
    assert query.dtype in (torch.bfloat16, torch.float16)
    assert query.shape[-1] % 8 == 0
    assert query.shape[-1] <= 256
    seen, seed = _forward(query, key, value, offsets, drop)
    return seen, torch.zeros(query.shape[1], len(query)), seed, torch.zeros(()), torch.zeros(0)


def flash_back(*args: Any, **_: Any) -> Any:
    """`_flash_attention_backward`."""
    return _backward(args[0], args[1:4], args[6], args[10], args[12])


def efficient(*args: Any, **_: Any) -> Any:
    """`_efficient_attention_forward`, of one batch."""
    (query, key, value), offsets, drop = (each[0] for each in args[:3]), args[4], args[8]
    assert query.dtype != torch.bfloat16
    seen, seed = _forward(query, key, value, offsets, drop)
    return seen[None], torch.zeros(1, query.shape[1], len(query)), seed, seed.clone(), 1, 1


def efficient_back(*args: Any, **_: Any) -> Any:
    """`_efficient_attention_backward`."""
    gradient, *read = (each[0] for each in args[:4])
    found = _backward(gradient, tuple(read), args[6], args[11], args[12])
    return (*(each[None] for each in found), torch.zeros(0))


ATTENTION = {
    aten._flash_attention_forward.default: flash,
    aten._flash_attention_backward.default: flash_back,
    aten._efficient_attention_forward.default: efficient,
    aten._efficient_attention_backward.default: efficient_back,
}
