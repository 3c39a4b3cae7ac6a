"""What is pruned as a whole: single weights, heads and neurons, N of M in a row, or rows.

A structure turns scores into a mask with exactly the wanted number of pruned weights. Nothing here
loads torch before a mask is made.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.base.specs.prune import GROUPS, HEADS_AND_NEURONS, N_OF_M, ROWS_TOGETHER, UNSTRUCTURED

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = [
    "ROWS",
    "STRUCTURES",
    "Structure",
    "Units",
    "by_output",
    "check_groups",
    "check_lines",
    "check_matrices",
    "patterns_at_risk",
    "patterns_lost",
    "unit_ranks",
    "units_of",
]

Structure: TypeAlias = "Callable[[Tensors, Mask, Decimal, int], Mask]"
"""(scores, mask, sparsity, attention heads of a block; 0 if unknown) -> sparser mask.

scores: name -> float tensor, a layer's as (outputs, inputs); higher is kept longer. mask: what is
pruned already and stays so, likewise. sparsity: of the result, exactly. Ties are pruned by name,
then position.
"""


class _Structures(Registry[Structure]):
    """Structures by name; `2:4` and its like are read from the name."""

    def __getitem__(self, name: str) -> Structure:
        if pattern := N_OF_M.fullmatch(name):
            return partial(_n_of_m, (int(pattern[1]), int(pattern[2])))
        return super().__getitem__(name)


STRUCTURES = _Structures("structure")


@STRUCTURES.register(UNSTRUCTURED)
def unstructured(scores: "Tensors", mask: "Mask", sparsity: Decimal, heads: int = 0) -> "Mask":
    """Single weights of all matrices together."""
    from tombola.ticket.prune import keep_top

    return keep_top(scores, mask, sparsity=sparsity)


@STRUCTURES.register(HEADS_AND_NEURONS)
def heads_and_neurons(scores: "Tensors", mask: "Mask", sparsity: Decimal, heads: int = 0) -> "Mask":
    """Attention heads and intermediate neurons, by the mean square of their scores.

    The last unit is pruned in part, so that the count is exact. What is kept is a smaller dense
    network.

    Raises: SpecError, without the number of heads, or for blocks built in another way.
    """
    return _whole(units_of(scores, heads), scores, mask, sparsity)


@STRUCTURES.register(ROWS_TOGETHER)
def rows(scores: "Tensors", mask: "Mask", sparsity: Decimal, heads: int = 0) -> "Mask":
    """Rows of the matrices, one for each output, by the mean square of their scores.

    The last row is pruned in part, so that the count is exact.

    Raises: SpecError, for a tensor that is not a matrix.
    """
    check_matrices(scores)
    found = [Units(len(scores[name]), ((name, ROWS),)) for name in sorted(scores)]
    return _whole(found, scores, mask, sparsity)


def _n_of_m(
    pattern: tuple[int, int], scores: "Tensors", mask: "Mask", sparsity: Decimal, heads: int = 0
) -> "Mask":
    """Keep the n best of each m weights that follow each other along the inputs.

    Raises: SpecError, if the sparsity is another, a matrix can't be divided into such groups, or
        more of a group is pruned already; TicketError, if names or shapes differ.
    """
    import torch

    from tombola.ticket.mask import Mask
    from tombola.ticket.prune import check_scores

    n, m = pattern
    mask.check(scores, "scores")
    check_scores(scores)
    if Fraction(sparsity) != Fraction(m - n, m):
        raise SpecError(
            f"{n}:{m} is a sparsity of {(m - n) / m:g}, got {sparsity:f}. Use that sparsity."
        )
    check_groups(scores, m)
    found = {}
    for name, tensor in scores.items():
        kept = mask[name].cpu()
        left = tensor.detach().cpu().float().masked_fill(~kept, -torch.inf)
        order = left.reshape(-1, m).argsort(dim=1, stable=True)
        best = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, m - n :], True)
        found[name] = best.reshape(tensor.shape)
        if bool((found[name] & ~kept).any()):
            raise SpecError(_too_few(n, m, f"got {name} with fewer left in a group"))
    return Mask(found)


def patterns_lost(mask: "Mask", transposed: Container[str] = ()) -> dict[str, str]:
    """N:M that no sparser mask can have -> why: fewer of a group than N are left.

    Args:
        mask: the mask of a network.
        transposed: names of the weights that it stores as (inputs, outputs).
    """
    import torch

    fewest: dict[int, tuple[int, str]] = {}
    for name, kept in by_output(mask, transposed).items():
        left = kept.cpu().to(torch.uint8)
        for m in GROUPS:  # each twice the one before
            if kept.shape[-1] % m:
                break
            left = left.reshape(-1, 2).sum(1, dtype=torch.uint8)
            fewest[m] = min(fewest.get(m, (m, name)), (int(left.min()), name))
    return {
        f"{n}:{m}": _too_few(n, m, f"got {name} with fewer left in a group")
        for m, (least, name) in fewest.items()
        for n in range(least + 1, m)
    }


def patterns_at_risk(structure: str) -> dict[str, str]:
    """N:M that masks which start from one of a structure may not have -> why."""
    given = N_OF_M.fullmatch(structure)
    kept, group = map(int, given.groups()) if given else (0, 1)
    return {
        f"{n}:{m}": _too_few(n, m, f"and masks of the structure {structure} may leave fewer")
        for m in GROUPS
        for n in range(1 + (0 if m % group else kept * m // group), m)
    }


def _too_few(n: int, m: int, found: str) -> str:
    return f"{n}:{m} keeps {n} of each {m} weights, {found}. Prune to it from the dense network."


def check_matrices(weights: "Mapping[str, Tensor]") -> None:
    """Refuse weights that have no rows.

    Raises: SpecError, naming one.
    """
    for name, tensor in weights.items():
        if tensor.ndim != 2:
            raise SpecError(
                f"the structure 'rows' needs matrices, got {name} of shape {tuple(tensor.shape)}. "
                "Use another structure."
            )


def check_lines(weights: "Mapping[str, Tensor]") -> None:
    """Refuse weights whose last axis has no inputs, such as those of convolutions.

    Raises: SpecError, naming one.
    """
    for name, tensor in weights.items():
        if tensor.ndim > 2 and tensor.shape[-1] == 1:
            raise SpecError(
                "the allocation 'row' needs the inputs of an output along the last axis, got "
                f"{name} of shape {tuple(tensor.shape)}. Use another allocation."
            )


def check_groups(weights: "Mapping[str, Tensor]", m: int, transposed: Container[str] = ()) -> None:
    """Refuse weights whose inputs don't divide into groups of m.

    Args:
        weights: name -> weight.
        m: weights of a group.
        transposed: names of those that are stored as (inputs, outputs).

    Raises: SpecError, naming one.
    """
    for name, tensor in weights.items():
        if tensor.shape[0 if name in transposed else -1] % m:
            raise SpecError(
                f"N:{m} needs a number of inputs that {m} divides, got {name} of shape "
                f"{tuple(tensor.shape)}. Use another structure."
            )


def by_output(tensors: "Mapping[str, Tensor]", transposed: Container[str]) -> "Tensors":
    """Tensors with the matrices of some names transposed, from (inputs, outputs) to (outputs,
    inputs) or back."""
    return {name: x.T.contiguous() if name in transposed else x for name, x in tensors.items()}


def _whole(found: "Sequence[Units]", scores: "Tensors", mask: "Mask", sparsity: Decimal) -> "Mask":
    """Prune units one after another, from the lowest mean square of their scores."""
    from tombola.ticket.prune import check_scores, keep_top

    check_scores(scores)
    return keep_top(unit_ranks(found, scores), mask, sparsity=sparsity)


def unit_ranks(found: "Sequence[Units]", scores: "Tensors") -> "Tensors":
    """Name -> the rank of the unit that each weight belongs to, from the lowest mean square of its
    scores; of equal units the first ranks lower."""
    import torch

    means = torch.cat([_means(units, scores) for units in found])
    ranks = torch.empty(len(means))
    ranks[means.argsort(stable=True)] = torch.arange(len(means), dtype=torch.float32)
    ranked = {}
    parts = ranks.split([units.count for units in found])
    for units, rank in zip(found, parts, strict=True):
        for name, axis in units.matrices:
            lines = rank.repeat_interleave(scores[name].shape[axis] // units.count)
            lines = lines.unsqueeze(1) if axis == ROWS else lines.unsqueeze(0)
            ranked[name] = lines.expand(scores[name].shape).contiguous()
    return ranked


def _means(units: "Units", scores: "Tensors") -> "Tensor":
    """Root of the mean square of each unit's scores, as float64."""
    import torch

    total, size = torch.zeros(units.count, dtype=torch.float64), 0
    for name, axis in units.matrices:
        lines = scores[name].detach().cpu().double().square().sum(1 - axis)
        total += lines.reshape(units.count, -1).sum(1)
        size += scores[name].numel()
    return (total / (size / units.count)).sqrt()


ROWS, COLUMNS = 0, 1


@dataclass(frozen=True)
class Units:
    """Units of one kind in one block: unit i has the i-th share of rows or columns of each."""

    count: int
    """Units; each has as many rows or columns of a matrix as any other."""
    matrices: tuple[tuple[str, int], ...]
    """Name of the weight, and ROWS or COLUMNS."""


def units_of(
    weights: "Mapping[str, Tensor]", heads: int, transposed: Container[str] = ()
) -> list[Units]:
    """The attention heads and the intermediate neurons of each block.

    Query, key, value and output are the square matrices of a block; the first three are known by
    their initials, and a head owns a share of their rows and of the output's columns. A neuron
    owns a row of each matrix that leads out of the width of the network, and a column of each
    that leads back.

    Args:
        weights: name -> matrix (outputs, inputs); all of them in numbered blocks.
        heads: attention heads in a block.
        transposed: names of those that are stored as (inputs, outputs), which are refused.

    Raises: SpecError, for anything built in another way.
    """
    from tombola.ticket.scope import blocks_of

    if turned := sorted(name for name in weights if name in transposed):
        raise _other(f"{turned[0]}, stored as (inputs, outputs)")
    found = []
    for blocks in blocks_of(weights).values():
        for names in blocks.values():
            found += _block({inside: weights[name] for inside, name in names.items()}, names, heads)
    known = {name for units in found for name, _ in units.matrices}
    if stray := sorted(weights.keys() - known):
        raise _other(f"{stray[0]} outside of them")
    return found


def _block(weights: "Mapping[str, Tensor]", names: Mapping[str, str], heads: int) -> list[Units]:
    """Heads and neurons of one block; `names` are the full ones."""
    odd = [inside for inside, weight in weights.items() if weight.ndim != 2]
    square = [inside for inside, weight in weights.items() if len({*weight.shape}) == 1]
    if odd or not square:
        raise _other(
            f"{names[odd[0]]}, not a matrix" if odd else f"none next to {min(names.values())}"
        )
    width = weights[square[0]].shape[0]
    if not 0 < heads <= width or width % heads:
        raise SpecError(
            "the structure 'heads-and-neurons' needs a number of attention heads that divides the "
            f"width {width}, got {heads}. Pass the network's own."
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
        f"the structure 'heads-and-neurons' needs blocks of square query, key, value and output "
        f"matrices and of wider ones between two widths, got {came}."
    )
