"""Instant soup: the average of the masks of several short trainings."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.finders.allocations import keep_best
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Finder, Pruned, finder
from tombola.finders.scores import magnitude
from tombola.finders.shapes import train_mask

if TYPE_CHECKING:
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["SoupSpec", "soup", "votes"]


@dataclass(frozen=True, kw_only=True)
class SoupSpec(PruneSpec):
    """Instant soup: how much is pruned, and how many masks are averaged."""

    members: int = 5
    """Number of masks that are averaged; their trainings share the steps of one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 2:
            raise SpecError(f"members must be 2 or more, got {self.members}. For one, use imp.")


def prune_by_members(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`train_mask`, with at least one step for each member.

    Raises: SpecError.
    """
    assert isinstance(spec, SoupSpec)
    if spec.members > subject.steps:
        raise SpecError(
            f"members must be at most the {subject.steps} steps that they share, got "
            f"{spec.members}. Use fewer, or train for more epochs."
        )
    return train_mask(finder, subject, spec, seed)


@finder("soup", SoupSpec, plan=prune_by_members, source="Jaiswal et al. 2023")
def soup(evidence: Evidence, spec: SoupSpec, mask: "Mask") -> Pruned:
    """Prune what most masks of short, differently ordered trainings prune.

    Each member begins at the pre-trained weights, sees the data in an order of its own, and keeps
    its largest weights. Other than in the paper, the final sparsity is reached at once, and members
    differ in data order and dropout only.
    """

    def cut(scores: "Tensors") -> "Mask":
        return keep_best(scores, mask, spec, evidence.layout)

    masks: list[Mask] = []
    sizes: Tensors = {}
    for part in range(spec.members):
        own = magnitude(evidence.train(parts=spec.members, part=part))
        masks.append(cut(own))
        sizes = {name: size + sizes[name] if sizes else size for name, size in own.items()}
    made = cut(votes(masks, sizes))
    shared = [_shared(*pair) for pair in combinations(masks, 2)]
    return Pruned(made, {"shared_by_members": round(sum(shared) / len(shared), 6)})


def votes(masks: "list[Mask]", sizes: "Tensors") -> "Tensors":
    """Name -> how many of the masks keep each weight, plus a fraction that grows with its magnitude
    and breaks ties."""
    largest = max(float(size.max()) for size in sizes.values())
    return {
        name: sum(mask[name].float() for mask in masks) + size / (2 * largest or 1.0)
        for name, size in sizes.items()
    }


def _shared(first: "Mask", second: "Mask") -> float:
    """The fraction of the weights kept by one mask that the other keeps, too."""
    both = sum(int((first[name] & second[name]).sum()) for name in first)
    return both / max(1, first.size - first.pruned)
