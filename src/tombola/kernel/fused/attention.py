"""Attention over texts without padding, with dropout, in the C extension; and its gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tombola.kernel.c_extension import checked_address
from tombola.kernel.fused.dropout import Dropout
from tombola.kernel.fused.extension import extension, half, rows_at

__all__ = ["Attention", "Texts", "attend", "attend_backward"]

QueriesKeysValues: TypeAlias = Sequence[Tensor]
"""One tensor each for queries, keys and values."""

LANES = 16
"""Values that the loops process at once; rows are padded to a multiple."""


@dataclass(frozen=True)
class Texts:
    """Where the queries and the keys of some texts are, in rows without padding between them."""

    queries: Tensor
    """int64, (texts + 1): where the queries of each text begin, and where the last ones end."""
    keys: Tensor
    """int64, (texts): where the keys of each text begin."""
    counts: Tensor
    """int64, (texts): number of keys of each text."""

    @property
    def most_queries(self) -> int:
        """The largest number of queries of a text."""
        return int(self.queries.diff().max())

    @property
    def longest(self) -> int:
        """The largest number of keys of a text."""
        return int(self.counts.max())

    def pairs(self, heads: int) -> int:
        """Number of pairs of a query and a key, over all heads."""
        return heads * int((self.queries.diff() * self.counts).sum())

    def check(self, queries: int, keys: int) -> None:
        """Refuse texts that reach beyond their rows.

        Raises: IndexError.
        """
        ends = self.keys + self.counts
        inside = (
            len(self.queries) - 1 == len(self.keys) == len(self.counts) > 0
            and int(self.queries[0]) == 0
            and int(self.queries[-1]) == queries
            and bool((self.queries.diff() >= 0).all())
            and bool((self.counts >= 0).all())
            and int(self.keys.min()) >= 0
            and int(ends.max()) <= keys
        )
        if not inside:
            raise IndexError(
                f"expected texts with {queries} queries among {keys} keys, got queries from "
                f"{self.queries.tolist()}, keys from {self.keys.tolist()}, {self.counts.tolist()} "
                f"of them"
            )


@dataclass(frozen=True)
class Attention:
    """The inputs of attention: products without their biases, the biases, and the texts."""

    products: QueriesKeysValues
    """Queries, keys and values: (rows, width), all heads side by side. Rows may be parts of longer
    ones, with the same strides for keys and values."""
    biases: QueriesKeysValues
    """Tensors of shape (width,)."""
    heads: int
    texts: Texts
    dropout: Dropout

    def check(self) -> None:
        """Refuse texts that reach beyond the rows, and a width that heads don't divide.

        Raises: IndexError; ValueError.
        """
        queries, keys, values = self.products
        if queries.dim() != 2 or self.heads < 1 or queries.shape[1] % self.heads:
            raise ValueError(f"expected {self.heads} heads of a size, got {tuple(queries.shape)}")
        if values.shape != keys.shape or values.stride() != keys.stride():
            raise ValueError(
                f"expected keys and values alike, got {tuple(keys.shape)} in {keys.stride()} and "
                f"{tuple(values.shape)} in {values.stride()}"
            )
        self.texts.check(len(queries), len(keys))


def attend(what: Attention) -> tuple[Tensor, Tensor]:
    """The context vectors, (queries, width), and the softmax before dropout, without padding."""
    what.check()
    queries, work = what.products[0], _work(what)
    context = queries.new_empty(queries.shape)
    probabilities = torch.empty(what.texts.pairs(what.heads))
    places = (
        checked_address(context, *context.shape, dtype=queries.dtype),
        checked_address(probabilities, len(probabilities)),
    )
    extension().attend(*_attention(what, work), *places)
    return context, probabilities


def attend_backward(
    what: Attention, probabilities: Tensor, gradient: Tensor, products: QueriesKeysValues
) -> Tensor:
    """The gradients of attention.

    Args:
        what: the inputs of `attend`.
        probabilities: the softmax before dropout.
        gradient: (queries, width).
        products: are filled with the gradients of queries, keys and values, whose strides they
            have. Rows that are in no text are left alone.

    Returns: the gradients of the biases, (3, width).
    """
    what.check()
    queries, work = what.products[0], _work(what)
    width, dtype = queries.shape[1], queries.dtype
    biases = torch.zeros(3, width)
    for found, own in zip(products, what.products, strict=True):
        if found.shape != own.shape or found.stride() != own.stride():
            raise ValueError(f"expected {own.shape} in strides {own.stride()}, got {found.shape}")
    extension().attend_backward(
        *_attention(what, work),
        checked_address(gradient, *queries.shape, dtype=dtype),
        checked_address(probabilities, what.texts.pairs(what.heads)),
        tuple(rows_at(each, width, dtype) for each in products),
        tuple(checked_address(each, width) for each in biases),
    )
    return biases


def _work(what: Attention) -> Tensor:
    """Work space: as many zeros as a head is wide, then room for one head of the longest text."""
    size = what.products[0].shape[1] // what.heads
    most, longest = _rounded(what.texts.most_queries), _rounded(what.texts.longest)
    rooms = 3 * _rounded(size) * (most + longest) + 2 * most * longest
    work = torch.empty(size + rooms)
    work[:size] = 0.0
    return work


def _attention(what: Attention, work: Tensor) -> tuple[Any, ...]:
    """The first arguments of both loops of attention."""
    (queries, keys, _), texts = what.products, what.texts
    width = queries.shape[1]
    size = width // what.heads
    spots = texts.queries, texts.keys, texts.counts
    return (
        half(queries),
        tuple(rows_at(each, width, queries.dtype) for each in what.products),
        (*[checked_address(each, width) for each in what.biases], work.data_ptr()),
        tuple(checked_address(each, len(each), dtype=torch.int64) for each in spots),
        (queries.stride(0), keys.stride(0)),
        (len(texts.keys), what.heads, size),
        (_rounded(texts.most_queries), _rounded(texts.longest)),
        size**-0.5,
        work[size:].data_ptr(),
        what.dropout.numbers,
    )


def _rounded(number: int) -> int:
    """Rounded up to whole vectors."""
    return -(-number // LANES) * LANES
