"""What a mask looks like inside: sparsity by layer and type, and what it prunes entirely.

Rows and columns are those of a matrix as the network stores it. In a linear layer row i makes
output i and column j reads input j; in GPT-2's Conv1D it is the other way round.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import SpecError
from tombola.study.masks.sparsity_grids import SparsityGrid, kept_weights, sparsity_grids
from tombola.ticket.mask import Mask
from tombola.ticket.scope import blocks_of
from tombola.ticket.structures import ROWS, Units, units_of

__all__ = ["Anatomy", "HeadSparsity", "PrunedLines", "anatomy", "pruned_lines"]


@dataclass(frozen=True, kw_only=True)
class PrunedLines:
    """How many rows and columns of one matrix have no weight left."""

    matrix: str
    rows: int
    pruned_rows: int
    columns: int
    pruned_columns: int


@dataclass(frozen=True, kw_only=True)
class HeadSparsity:
    """One attention head, and the share of its weights that is pruned."""

    block: str
    """Name of the block, such as encoder.layer.0."""
    number: int
    sparsity: float
    """The share of its rows of query, key and value and its columns of the output; 1 if all are
    pruned."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a mask looks like inside, as far as the network's heads are known."""

    grids: tuple[SparsityGrid, ...]
    fully_pruned: tuple[PrunedLines, ...]
    """Matrices with rows or columns without a weight left."""
    heads: tuple[HeadSparsity, ...]
    pruned_heads: tuple[str, ...]
    """Names of the heads without a weight left, such as encoder.layer.0.2."""
    neurons: int
    """Intermediate neurons of all blocks."""
    pruned_neurons: int
    """Neurons without a weight left."""
    note: str
    """Why heads and neurons are unknown; empty if they are known."""


def anatomy(mask: Mask, heads: int | None) -> Anatomy:
    """What a mask looks like inside.

    Args:
        mask: the mask of any network.
        heads: attention heads of a block; None if unknown.
    """
    lines = pruned_lines(mask)
    lines = [each for each in lines if each.pruned_rows or each.pruned_columns]
    try:
        units = _units(mask, heads)
    except SpecError as error:
        return Anatomy(
            grids=sparsity_grids(mask),
            fully_pruned=tuple(lines),
            heads=(),
            pruned_heads=(),
            neurons=0,
            pruned_neurons=0,
            note=str(error),
        )
    known = tuple(_heads(mask, units))
    inner = [_pruned_share(mask, neurons) for _, neurons in units]
    return Anatomy(
        grids=sparsity_grids(mask),
        fully_pruned=tuple(lines),
        heads=known,
        pruned_heads=tuple(f"{head.block}.{head.number}" for head in known if head.sparsity == 1),
        neurons=sum(share.size for share in inner),
        pruned_neurons=sum(int((share == 1.0).sum()) for share in inner),
        note="",
    )


def pruned_lines(mask: Mask) -> list[PrunedLines]:
    """Rows and columns without weights, for each matrix of two axes."""
    found = []
    for name, tensor in mask.items():
        if tensor.ndim == 2:
            kept = kept_weights(mask, name)
            rows, columns = kept.any(axis=1), kept.any(axis=0)
            found.append(
                PrunedLines(
                    matrix=name,
                    rows=rows.size,
                    pruned_rows=int((~rows).sum()),
                    columns=columns.size,
                    pruned_columns=int((~columns).sum()),
                )
            )
    return found


def _units(mask: Mask, heads: int | None) -> list[tuple[Units, Units]]:
    """Heads and neurons of each block, in order."""
    if heads is None:
        raise SpecError(
            "heads and neurons need the network's number of attention heads, got none. Put the "
            "network where the ticket says, or pass --heads."
        )
    names = [
        n
        for blocks in blocks_of(mask).values()
        for block in blocks.values()
        for n in block.values()
    ]
    units = units_of({name: mask[name] for name in names}, heads)
    return list(zip(units[::2], units[1::2], strict=True))


def _heads(mask: Mask, units: list[tuple[Units, Units]]) -> list[HeadSparsity]:
    found = []
    for attention, _ in units:
        block = _common([name for name, _ in attention.matrices])
        found += [
            HeadSparsity(block=block, number=number, sparsity=float(share))
            for number, share in enumerate(_pruned_share(mask, attention))
        ]
    return found


def _common(names: list[str]) -> str:
    """The block that some weights are in: their names up to the first number."""
    parts = names[0].split(".")
    return ".".join(parts[: next(n for n, part in enumerate(parts) if part.isdecimal()) + 1])


def _pruned_share(mask: Mask, units: Units) -> NDArray[np.float64]:
    """The sparsity of each unit: [units]."""
    pruned, size = np.zeros(units.count), 0
    for name, axis in units.matrices:
        kept = kept_weights(mask, name)
        by_unit = (kept if axis == ROWS else kept.T).reshape(units.count, -1)
        pruned += (~by_unit).sum(axis=1)
        size += by_unit.shape[1]
    share: NDArray[np.float64] = pruned / size
    return share
