"""Which weights make up an attention head or an intermediate neuron of a transformer block."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tombola.base.errors import SpecError
from tombola.ticket.blocks import blocks_of

__all__ = ["ROWS", "Units", "units_of"]

ROWS, COLUMNS = 0, 1


@dataclass(frozen=True)
class Units:
    """Units of one kind in one block: unit i has the i-th share of rows or columns of each."""

    count: int
    """Units; each has as many rows or columns of a matrix as any other."""
    matrices: tuple[tuple[str, int], ...]
    """Name of the weight, and ROWS or COLUMNS."""


def units_of(weights: Mapping[str, Tensor], heads: int) -> list[Units]:
    """The attention heads and the intermediate neurons of each block.

    Query, key, value and output are the square matrices of a block; the first three are known by
    their initials, and a head owns a share of their rows and of the output's columns. A neuron
    owns a row of each matrix that leads out of the width of the network, and a column of each
    that leads back.

    Args:
        weights: name -> matrix (outputs, inputs); all of them in numbered blocks.
        heads: attention heads in a block.

    Raises: SpecError, for anything built in another way.
    """
    found = []
    for blocks in blocks_of(weights).values():
        for names in blocks.values():
            found += _block({inside: weights[name] for inside, name in names.items()}, names, heads)
    known = {name for units in found for name, _ in units.matrices}
    if stray := sorted(weights.keys() - known):
        raise _other(f"{stray[0]} outside of them")
    return found


def _block(weights: Mapping[str, Tensor], names: Mapping[str, str], heads: int) -> list[Units]:
    """Heads and neurons of one block; `names` are the full ones."""
    odd = [inside for inside, weight in weights.items() if weight.ndim != 2]
    square = [inside for inside, weight in weights.items() if len({*weight.shape}) == 1]
    if odd or not square:
        raise _other(f"{names[odd[0]]}, no matrix" if odd else f"none beside {min(names.values())}")
    width = weights[square[0]].shape[0]
    if not 0 < heads <= width or width % heads:
        raise SpecError(
            f"the scorer 'units' needs a number of attention heads that divides the width {width}, "
            f"got {heads}. Give the network's own."
        )
    attention = [(names[inside], axis) for inside, axis in _attention(square, names)]
    neurons = []
    for inside in sorted(weights.keys() - {*square}):
        axis = COLUMNS if weights[inside].shape[0] == width else ROWS
        if weights[inside].shape[1 - axis] != width:
            raise _other(f"{names[inside]} of shape {tuple(weights[inside].shape)}")
        neurons.append((inside, axis))
    inner = {weights[inside].shape[axis] for inside, axis in neurons}
    if len(inner) != 1 or {axis for _, axis in neurons} != {ROWS, COLUMNS}:
        raise _other(f"inner widths {sorted(inner)} in the block of {min(names.values())}")
    rest = tuple((names[inside], axis) for inside, axis in neurons)
    return [Units(heads, tuple(attention)), Units(inner.pop(), rest)]


def _attention(square: list[str], names: Mapping[str, str]) -> list[tuple[str, int]]:
    """The four square matrices of a block, the output's columns and the others' rows."""
    leaves = {inside: inside.removesuffix(".weight").rpartition(".")[2] for inside in square}
    initials = sorted(leaf[:1] for leaf in leaves.values() if leaf[:1] in ("q", "k", "v"))
    if len(square) != 4 or initials != ["k", "q", "v"]:
        raise _other(", ".join(names[inside] for inside in sorted(square)))
    return [
        (inside, ROWS if leaves[inside][:1] in ("q", "k", "v") else COLUMNS)
        for inside in sorted(square)
    ]


def _other(came: str) -> SpecError:
    return SpecError(
        f"the scorer 'units' needs blocks of square query, key, value and output matrices and of "
        f"wider ones between two widths, got {came}."
    )
