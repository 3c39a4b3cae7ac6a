"""What a mask looks like inside: sparsity by layer and matrix, units that died, and distances.

Rows and columns are those of a matrix as the network stores it. In a linear layer row i makes
output i and column j reads input j; in GPT-2's Conv1D it is the other way round.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import SpecError, TicketError
from tombola.ticket.blocks import blocks_of
from tombola.ticket.mask import Mask
from tombola.ticket.structures import ROWS, Units, units_of

__all__ = [
    "Anatomy",
    "Fallen",
    "Grid",
    "Head",
    "anatomy",
    "dead_heads",
    "dead_lines",
    "distances",
    "grids",
]

Bools = NDArray[np.bool_]
OUTSIDE = "outside of the blocks"
"""List of blocks of the matrices that are in none, such as a pooler's."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The matrices of one list of blocks: a row for each block, a column for each type."""

    blocks: str
    """Name of the list, such as encoder.layer."""
    layers: tuple[int, ...]
    types: tuple[str, ...]
    """Name of each matrix within its block, without `.weight`."""
    sparsity: tuple[tuple[float | None, ...], ...]
    """[layer][type], fraction that is dead; None where a block lacks that matrix."""
    by_layer: tuple[float, ...]
    """Of all matrices of a block together."""
    by_type: tuple[float, ...]
    """Of that matrix in all blocks together."""


@dataclass(frozen=True, kw_only=True)
class Fallen:
    """Rows and columns of one matrix in which no weight lives."""

    matrix: str
    rows: int
    dead_rows: int
    columns: int
    dead_columns: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """One attention head."""

    block: str
    """Name of the block, such as encoder.layer.0."""
    number: int
    sparsity: float
    """Of its rows of query, key and value and its columns of the output."""

    @property
    def dead(self) -> bool:
        """Whether no weight of it lives."""
        return self.sparsity == 1.0


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """All of it."""

    grids: tuple[Grid, ...]
    fallen: tuple[Fallen, ...]
    """Matrices with dead rows or columns."""
    heads: tuple[Head, ...]
    neurons: int
    """Intermediate neurons of all blocks."""
    dead_neurons: int
    """Those of which no weight lives."""
    note: str
    """Why there are no heads and neurons; empty if there are."""


def anatomy(mask: Mask, heads: int | None) -> Anatomy:
    """What a mask looks like inside.

    Args:
        mask: of any network.
        heads: attention heads of a block; None if nobody knows.
    """
    fallen = tuple(each for each in dead_lines(mask) if each.dead_rows or each.dead_columns)
    try:
        units = _units(mask, heads)
    except SpecError as error:
        return Anatomy(
            grids=grids(mask),
            fallen=fallen,
            heads=(),
            neurons=0,
            dead_neurons=0,
            note=str(error),
        )
    inner = [_dead_share(mask, neurons) for _, neurons in units]
    return Anatomy(
        grids=grids(mask),
        fallen=fallen,
        heads=tuple(_heads(mask, units)),
        neurons=sum(share.size for share in inner),
        dead_neurons=sum(int((share == 1.0).sum()) for share in inner),
        note="",
    )


# --- sparsity by layer and type ----------------------------------------------


def grids(mask: Mask) -> tuple[Grid, ...]:
    """Sparsity of each matrix, in a grid of layers and types for each list of blocks."""
    places: dict[str, dict[int, dict[str, str]]] = dict(blocks_of(mask))
    inside = {
        name for blocks in places.values() for names in blocks.values() for name in names.values()
    }
    if stray := {name: name for name in mask if name not in inside}:
        places[OUTSIDE] = {0: stray}
    return tuple(_grid(mask, place, blocks) for place, blocks in places.items())


def _grid(mask: Mask, place: str, blocks: Mapping[int, Mapping[str, str]]) -> Grid:
    types = list(dict.fromkeys(inside for names in blocks.values() for inside in names))
    shares = [
        [_sparsity(mask, [names[inside]]) if inside in names else None for inside in types]
        for names in blocks.values()
    ]
    together = [[n[inside] for n in blocks.values() if inside in n] for inside in types]
    return Grid(
        blocks=place,
        layers=tuple(blocks),
        types=tuple(inside.removesuffix(".weight") for inside in types),
        sparsity=tuple(map(tuple, shares)),
        by_layer=tuple(_sparsity(mask, [*names.values()]) for names in blocks.values()),
        by_type=tuple(_sparsity(mask, names) for names in together),
    )


def _sparsity(mask: Mask, names: list[str]) -> float:
    """Dead weights of some matrices together, as a fraction."""
    size = sum(mask[name].numel() for name in names)
    living = sum(int(np.count_nonzero(_alive(mask, name))) for name in names)
    return (size - living) / size


def _alive(mask: Mask, name: str) -> Bools:
    alive: Bools = mask[name].cpu().numpy()
    return alive


# --- what died whole ---------------------------------------------------------


def dead_lines(mask: Mask) -> list[Fallen]:
    """How many rows and columns of each matrix died whole."""
    found = []
    for name, tensor in mask.items():
        if tensor.ndim == 2:
            alive = _alive(mask, name)
            rows, columns = alive.any(axis=1), alive.any(axis=0)
            found.append(
                Fallen(
                    matrix=name,
                    rows=rows.size,
                    dead_rows=int((~rows).sum()),
                    columns=columns.size,
                    dead_columns=int((~columns).sum()),
                )
            )
    return found


def dead_heads(mask: Mask, heads: int) -> list[Head]:
    """The attention heads of which no weight lives: query, key, value nor output.

    Raises: SpecError, if the blocks are not built as ticket/units.py knows them.
    """
    return [head for head in _heads(mask, _units(mask, heads)) if head.dead]


def _units(mask: Mask, heads: int | None) -> list[tuple[Units, Units]]:
    """Heads and neurons of each block, in order."""
    if heads is None:
        raise SpecError(
            "heads and neurons take the network's number of attention heads, got none. Put the "
            "network where the ticket says, or name --heads."
        )
    names = [
        n
        for blocks in blocks_of(mask).values()
        for block in blocks.values()
        for n in block.values()
    ]
    units = units_of({name: mask[name] for name in names}, heads)
    return list(zip(units[::2], units[1::2], strict=True))


def _heads(mask: Mask, units: list[tuple[Units, Units]]) -> list[Head]:
    found = []
    for attention, _ in units:
        block = _common([name for name, _ in attention.matrices])
        found += [
            Head(block=block, number=number, sparsity=float(share))
            for number, share in enumerate(_dead_share(mask, attention))
        ]
    return found


def _common(names: list[str]) -> str:
    """The block that some weights are in: their names up to the first number."""
    parts = names[0].split(".")
    return ".".join(parts[: next(n for n, part in enumerate(parts) if part.isdecimal()) + 1])


def _dead_share(mask: Mask, units: Units) -> NDArray[np.float64]:
    """Dead weights of each unit as a fraction of its weights: [units]."""
    dead, size = np.zeros(units.count), 0
    for name, axis in units.matrices:
        alive = _alive(mask, name)
        by_unit = (alive if axis == ROWS else alive.T).reshape(units.count, -1)
        dead += (~by_unit).sum(axis=1)
        size += by_unit.shape[1]
    share: NDArray[np.float64] = dead / size
    return share


# --- how far training went ---------------------------------------------------


def distances(
    before: Mapping[str, NDArray[np.floating]],
    after: Mapping[str, NDArray[np.floating]],
    mask: Mask | None = None,
) -> dict[str, float]:
    """How far each matrix has moved: |after - before| / |before|, Euclidean (Frobenius) norms.

    Args:
        before: name -> pre-trained weights.
        after: the same names, trained.
        mask: counts the weights that live under it only, and the matrices that it names; a dead
            one has moved to zero by the mask, not by training.

    Returns: name -> distance; NaN where the weights before are all zero.
    Raises: TicketError, if names or shapes differ.
    """
    found = {}
    for name in mask or before:
        shapes = [w[name].shape if name in w else None for w in (before, after)]
        if shapes[0] is None or shapes[0] != shapes[1]:
            raise TicketError(
                f"expected two sets of weights of one network, got {name} of shape {shapes[0]} "
                f"before and {shapes[1]} after. Name a network and what was trained from it."
            )
        old, new = (np.asarray(w[name], dtype=np.float64) for w in (before, after))
        if mask is not None:
            old, new = (weights[_alive(mask, name)] for weights in (old, new))
        length = float(np.linalg.norm(old))
        found[name] = float(np.linalg.norm(new - old)) / length if length else float("nan")
    return found
