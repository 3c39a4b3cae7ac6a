"""Sparsity of a mask's matrices as grids of layers and types, one for each list of blocks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tombola.ticket.mask import Mask
from tombola.ticket.scope import blocks_of

__all__ = ["OUTSIDE", "SparsityGrid", "kept_weights", "sparsity_grids"]

Bools = NDArray[np.bool_]
OUTSIDE = "outside of the blocks"
"""Stands for the list of blocks of matrices that are in none, such as a pooler's."""


@dataclass(frozen=True, kw_only=True)
class SparsityGrid:
    """The matrices of one list of blocks: a row for each block, a column for each type."""

    blocks: str
    """Name of the list, such as encoder.layer."""
    layers: tuple[int, ...]
    types: tuple[str, ...]
    """Name of each matrix within its block, without `.weight`."""
    sparsity: tuple[tuple[float | None, ...], ...]
    """[layer][type], fraction that is pruned; None where a block lacks that matrix."""
    by_layer: tuple[float, ...]
    """[layer], of all matrices of a block together."""
    by_type: tuple[float, ...]
    """[type], of that matrix in all blocks together."""


def sparsity_grids(mask: Mask) -> tuple[SparsityGrid, ...]:
    """Sparsity of each matrix, in a grid of layers and types for each list of blocks."""
    places: dict[str, dict[int, dict[str, str]]] = dict(blocks_of(mask))
    inside = {
        name for blocks in places.values() for names in blocks.values() for name in names.values()
    }
    if stray := {name: name for name in mask if name not in inside}:
        places[OUTSIDE] = {0: stray}
    return tuple(_grid(mask, place, blocks) for place, blocks in places.items())


def _grid(mask: Mask, place: str, blocks: Mapping[int, Mapping[str, str]]) -> SparsityGrid:
    types = list(dict.fromkeys(inside for names in blocks.values() for inside in names))
    shares = [
        [_sparsity(mask, [names[inside]]) if inside in names else None for inside in types]
        for names in blocks.values()
    ]
    together = [[n[inside] for n in blocks.values() if inside in n] for inside in types]
    return SparsityGrid(
        blocks=place,
        layers=tuple(blocks),
        types=tuple(inside.removesuffix(".weight") for inside in types),
        sparsity=tuple(map(tuple, shares)),
        by_layer=tuple(_sparsity(mask, [*names.values()]) for names in blocks.values()),
        by_type=tuple(_sparsity(mask, names) for names in together),
    )


def _sparsity(mask: Mask, names: list[str]) -> float:
    """The sparsity of some matrices together."""
    size = sum(mask[name].numel() for name in names)
    kept = sum(int(np.count_nonzero(kept_weights(mask, name))) for name in names)
    return (size - kept) / size


def kept_weights(mask: Mask, name: str) -> Bools:
    """Where a matrix keeps its weights."""
    kept: Bools = mask[name].cpu().numpy()
    return kept
