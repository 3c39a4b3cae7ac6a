"""Where rows of packed tokens are in padded texts, and the copies from one to the other."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Queries", "Route", "pad", "unpad"]


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
        """The route from (tokens x heads) rows to (texts x heads, length).

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


def pad(rows: Tensor, route: Route) -> Tensor:
    """Packed rows in their padded places, and 0 in the holes."""
    padded: Tensor = _Pad.apply(rows, route)  # type: ignore[no-untyped-call]
    return padded


def unpad(rows: Tensor, route: Route) -> Tensor:
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
