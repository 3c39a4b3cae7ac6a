"""The state of a pruner as one flat dictionary, as checkpoints have it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["flat", "mask_of", "part"]


def flat(**groups: "Mapping[str, Tensor]") -> "Tensors":
    """Group.name -> tensor."""
    return {f"{each}.{name}": x for each, own in groups.items() for name, x in own.items()}


def part(tensors: "Tensors", name: str) -> "Tensors":
    """The tensors of a group, under their own names."""
    prefix = f"{name}."
    return {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}


def mask_of(tensors: "Tensors", name: str, weights: "Tensors") -> "Mask":
    """The mask that a group is, where the weights are."""
    from tombola.ticket.mask import Mask

    return Mask({n: kept.to(weights[n].device) for n, kept in part(tensors, name).items()})
