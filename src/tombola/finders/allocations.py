"""How many weights each matrix keeps, for any score: together, evenly, or by its shape."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import ERK, GLOBAL, ROW, UNSTRUCTURED, depends_on_outputs
from tombola.finders.layout import PLAIN, Layout
from tombola.ticket.schedule import pruned_count, shortest_sparsity
from tombola.ticket.structures import STRUCTURES, by_output, check_lines

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["keep_best", "keep_number", "matrix_quotas", "quotas"]


def keep_best(
    scores: "Tensors",
    mask: "Mask",
    spec: PruneSpec,
    layout: Layout = PLAIN,
    *,
    sparsity: Decimal | None = None,
) -> "Mask":
    """Prune the lowest scores, by the structure and the allocation of a spec.

    Args:
        scores: name -> float tensor of the weight's shape; higher is kept longer.
        mask: what is pruned already and stays so.
        spec: the finder's knobs.
        layout: the layout of the network's weights, as evidence has it.
        sparsity: the exact sparsity of the result; by default the spec's.

    Raises: SpecError, if the mask is already sparser, a score is NaN, or the network can't have the
        structure; TicketError, if names or shapes differ.
    """
    from tombola.ticket.mask import Mask

    if layout.transposed and depends_on_outputs(spec.structure, spec.allocation):
        mask.check(scores, "scores")
        turned, plain = layout.transposed, Layout(layout.heads)
        pair = by_output(scores, turned), Mask(by_output(mask, turned))
        return Mask(by_output(keep_best(*pair, spec, plain, sparsity=sparsity), turned))
    wanted = spec.sparsity if sparsity is None else sparsity
    whole = STRUCTURES[spec.structure]
    if spec.structure != UNSTRUCTURED or spec.allocation == GLOBAL:
        return whole(scores, mask, wanted, layout.heads)
    whole(scores, mask, wanted, layout.heads)  # refuses what no allocation can have
    if spec.allocation == ROW:
        return _by_row(scores, mask, mask.size - pruned_count(wanted, mask.size))
    numbers = matrix_quotas(mask, spec, wanted)
    return Mask({n: keep_number(scores[n], mask[n], number) for n, number in numbers.items()})


def quotas(kept: int, shares: list[int], most: list[int]) -> list[int]:
    """How many weights each group keeps: in proportion to its share, and no more than it has.

    What a full group can't take goes to the others. Remainders go to the groups with the largest
    ones, of equal ones to the first.

    Args:
        kept: weights that are kept in all, at most the sum of `most`.
        shares: the share of each group, above 0.
        most: weights that each group has left.
    """
    found = dict[int, int]()
    open_, left = list(range(len(shares))), kept
    while full := _full(open_, left, shares, most):
        found |= {group: most[group] for group in full}
        left -= sum(most[group] for group in full)
        open_ = [group for group in open_ if group not in found]
    total = sum(shares[group] for group in open_)
    found |= {group: left * shares[group] // total for group in open_}
    missing = kept - sum(found.values())
    for group in sorted(open_, key=lambda group: -(left * shares[group] % total))[:missing]:
        found[group] += 1
    return [found[group] for group in range(len(shares))]


def _full(open_: list[int], left: int, shares: list[int], most: list[int]) -> list[int]:
    """The groups whose part would be all that they have, or more."""
    total = sum(shares[group] for group in open_)
    return [group for group in open_ if left * shares[group] >= most[group] * total]


def matrix_quotas(mask: "Mask", spec: PruneSpec, sparsity: Decimal | None = None) -> dict[str, int]:
    """How many weights each matrix keeps: as large a part, or one in proportion to the sum of its
    axes over their product (Erdos-Renyi-Kernel; Evci et al. 2020)."""
    wanted = spec.sparsity if sparsity is None else sparsity
    sizes, by_shape = mask.shapes, spec.allocation == ERK
    shares = [sum(shape) if by_shape else mask[name].numel() for name, shape in sizes.items()]
    most = [int(each.sum()) for each in mask.values()]
    kept = mask.size - pruned_count(wanted, mask.size)
    return dict(zip(mask, quotas(kept, shares, most), strict=True))


def keep_number(score: "Tensor", kept: "Tensor", number: int) -> "Tensor":
    """The `number` best-scored of the kept weights of one matrix; ties are pruned by position."""
    from tombola.ticket.mask import Mask
    from tombola.ticket.prune import keep_top

    if not number:
        return kept ^ kept
    size, one = kept.numel(), Mask({"": kept})
    if number == int(kept.sum()):
        return kept
    return keep_top({"": score}, one, sparsity=shortest_sparsity(size - number, size))[""]


def _by_row(scores: "Tensors", mask: "Mask", kept: int) -> "Mask":
    """Each line along the last axis keeps as large a part of its weights (Sun et al. 2024)."""
    from tombola.ticket.mask import Mask

    check_lines(mask)
    shares: list[int] = []
    most: list[int] = []
    for each in mask.values():
        lines = each.cpu().reshape(-1, each.shape[-1])
        shares += [lines.shape[1]] * len(lines)
        most += lines.sum(1).tolist()
    numbers = iter(quotas(kept, shares, most))
    return Mask({name: _lines(scores[name], mask[name], numbers) for name in mask})


def _lines(scores: "Tensor", kept: "Tensor", numbers: Iterator[int]) -> "Tensor":
    """The best weights of each line, as many as the next number says."""
    import torch

    lines = scores.detach().cpu().float().reshape(-1, scores.shape[-1])
    order = lines.argsort(dim=1, stable=True)
    keeps = kept.cpu().reshape(lines.shape).gather(1, order)
    order = order.gather(1, keeps.int().argsort(dim=1, stable=True))  # the pruned ones first
    keep = torch.tensor([next(numbers) for _ in range(len(lines))]).unsqueeze(1)
    best = torch.arange(lines.shape[1]) >= lines.shape[1] - keep
    return torch.zeros_like(best).scatter_(1, order, best).reshape(scores.shape)
