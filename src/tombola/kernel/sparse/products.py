"""Products with a sparse matrix: the C extension on tensors, and the same in torch."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tombola.kernel.sparse.packing import BLOCK, DTYPES, Packed

__all__ = ["available", "instruction_set", "product", "use", "use_best"]

TILE, PIECE, MOST_THREADS = 64, 32, 256
"""Tokens that are multiplied at once, and threads, at most; those of _sparse.c."""
KINDS = {dtype: kind for kind, dtype in enumerate(DTYPES.values())}


def available() -> bool:
    """Whether this installation has the C extension; without it all is done densely."""
    try:
        _extension()
    except ImportError:
        return False
    return True


@cache
def _extension() -> Any:
    from tombola.kernel.sparse import _sparse

    return _sparse


def use(instruction_set: str) -> None:
    """Take the loops for an instruction set: plain, avx2 or avx512.

    Raises: ValueError, for one that this processor or the compiler of the extension lacks.
    """
    _extension().use(instruction_set)


def use_best() -> None:
    """Take the loops for the largest instruction set that there is, as at the start."""
    _extension().use_best()


def instruction_set() -> str:
    """The instruction set that the C extension uses: avx512, avx2 or plain; none without it."""
    return _extension().instruction_set() if available() else "none"


def product(x: Tensor, weight: Packed, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, (tokens, in) -> (tokens, out), float32.

    Raises: ValueError, for a matrix whose parts don't fit each other.
    """
    tokens, width = x.shape
    rows = weight.shape[0]
    if not (tokens and width and rows):
        return functional.linear(x, weight.dense(), bias)
    x, y = x.contiguous(), x.new_empty(tokens, rows)
    threads = min(torch.get_num_threads(), MOST_THREADS)
    each = BLOCK * (TILE + PIECE) + -(-rows // 16) * 16 * min(TILE, -(-tokens // 16) * 16)
    room = x.new_empty(threads * each)
    parts = (weight.values, weight.columns, weight.order, weight.counts, weight.starts)
    parts += (weight.scales, bias)
    places = [0 if part is None else part.data_ptr() for part in parts]
    sizes = tokens, threads, room.data_ptr(), each
    _extension().product(
        KINDS[weight.values.dtype], *places, rows, width, x.data_ptr(), y.data_ptr(), *sizes
    )
    return y
