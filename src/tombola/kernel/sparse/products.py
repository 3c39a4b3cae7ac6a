"""Products with a sparse matrix by the C extension: dtypes, shapes and layouts are checked here.

Nothing here records gradients; `masked` does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tombola.kernel.c_extension import CExtension, checked_address
from tombola.kernel.sparse.packing import BLOCK, DTYPES, GROUP, Packed

__all__ = [
    "Operand",
    "available",
    "dense",
    "gradient",
    "instruction_set",
    "multiply",
    "product",
    "use",
    "use_best",
]

TILE, PIECE, MOST_THREADS = 64, 32, 256
"""The most tokens and rows that are computed at once, and threads; as in _sparse.c."""
KINDS = {dtype: kind for kind, dtype in enumerate(DTYPES.values())}


_sparse = CExtension("tombola.kernel.sparse._sparse")
available, use, use_best = _sparse.available, _sparse.use, _sparse.use_best


def instruction_set() -> str:
    """The instruction set that the C extension uses: avx512, avx2 or plain; none without it."""
    return _sparse.module().instruction_set() if available() else "none"


@dataclass(frozen=True)
class Operand:
    """A matrix and a bias as the extension takes them, checked once for many products."""

    shape: tuple[int, int]
    arguments: tuple[int, ...]
    held: tuple[Tensor | None, ...]
    """Keeps the memory that the arguments are addresses of, whatever becomes of the tensors."""

    @classmethod
    def of(cls, weight: Packed, bias: Tensor | None) -> "Operand":
        """A matrix and a bias; raises ValueError for parts that don't fit each other."""
        arguments = _arguments(weight, bias)
        parts = weight.values, weight.columns, weight.order, weight.counts, weight.starts
        held = (each if each is None else each.detach() for each in (*parts, weight.scales, bias))
        return cls(weight.shape, arguments, tuple(held))


def product(x: Tensor, weight: Packed, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, (tokens, in) -> (tokens, out), float32.

    Raises: as `Operand.of` and `multiply`.
    """
    return multiply(x, Operand.of(weight, bias))


def multiply(x: Tensor, operand: Operand, *, gelu: bool = False) -> Tensor:
    """x @ weight.T + bias, (tokens, in) -> (tokens, out), float32, and GELU of it if wanted.

    Raises: ValueError, for parts of a matrix that don't fit each other; RuntimeError, where
        there is no memory.
    """
    tokens, (rows, width) = len(x), operand.shape
    if not (tokens and width and rows):
        y = functional.linear(x, x.new_zeros(rows, width), operand.held[-1])
        return functional.gelu(y) if gelu else y
    x, y = x.contiguous(), x.new_empty(tokens, rows)
    _run(
        operand.arguments,
        rows,
        tokens,
        (checked_address(x, tokens, width), y.data_ptr(), 0),
        gelu=gelu,
    )
    return y


def gradient(x: Tensor, g: Tensor, weight: Packed) -> Tensor:
    """The gradient of the non-zero weights, in the order of `values`.

    Args:
        x: (tokens, in), float32.
        g: the gradient of the product, (tokens, out), float32.
        weight: the pattern; its values are not read.
    """
    tokens, (rows, width) = len(x), weight.shape
    found = x.new_zeros(weight.values.shape)
    if tokens and width and rows:
        x, g = x.contiguous(), g.contiguous()
        places = (
            checked_address(x, tokens, width),
            found.data_ptr(),
            checked_address(g, tokens, rows),
        )
        _run(_arguments(weight, None), rows, tokens, places)
    return found


def dense(weight: Packed) -> Tensor:
    """The matrix with its zeros, (out, in), float32."""
    whole = torch.zeros(weight.shape)
    _sparse.module().unpack(_arguments(weight, None), whole.data_ptr())
    return whole


def _run(
    matrix: tuple[int, ...],
    rows: int,
    tokens: int,
    places: tuple[int, int, int],
    *,
    gelu: bool = False,
) -> None:
    """Call the extension with the addresses of x, the result and g; with 0 for g it multiplies."""
    threads = max(1, min(torch.get_num_threads(), MOST_THREADS))
    tile = TILE if places[2] else min(TILE, -(-tokens // 16) * 16)
    each = BLOCK * (TILE + PIECE) + -(-rows // 16) * 16 * tile
    room = torch.empty(threads * each)
    sizes = tokens, threads, room.data_ptr(), each
    _sparse.module().product(matrix, gelu, *places, *sizes)


def _arguments(weight: Packed, bias: Tensor | None) -> tuple[int, ...]:
    """A matrix and a bias as the arguments of the extension."""
    (rows, width), size, values = weight.shape, len(weight.columns), weight.values
    blocks, groups = -(-width // BLOCK), -(-rows // GROUP)
    kind = KINDS.get(values.dtype)
    if kind is None or (weight.scales is None) == (values.dtype == torch.int8):
        raise ValueError(f"expected weights of {', '.join(DTYPES)}, got {values.dtype}")
    return (
        kind,
        checked_address(values, size, dtype=values.dtype),
        checked_address(weight.columns, size, dtype=torch.uint8),
        checked_address(weight.order, blocks, rows, dtype=torch.uint8),
        checked_address(weight.counts, blocks, rows, dtype=torch.uint8),
        checked_address(weight.starts, blocks * groups + 1, dtype=torch.int64),
        0 if weight.scales is None else checked_address(weight.scales, rows),
        0 if bias is None else checked_address(bias, rows),
        size,
        rows,
        width,
    )
