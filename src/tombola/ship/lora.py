"""Merge the adapters of PEFT into a ticket's network without bringing pruned weights back."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tombola.base.errors import TicketError
from tombola.base.rounding import percent, points
from tombola.ticket.hold.places import masked_parameters, unwrapped
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket

__all__ = ["MergedLora", "merge_lora"]


@dataclass(frozen=True)
class MergedLora:
    """A network with its adapters merged, and what the mask cost."""

    model: nn.Module
    """The network without adapters, its pruned weights at +0.0."""

    discarded: float
    """Share of the adapters' update that fell on pruned weights, in [0, 1]: the norm of that part
    over the norm of the update to all weights under the mask."""

    score: float | None = None
    """Score of the merged network."""

    unmerged_score: float | None = None
    """Score of the network with its adapters, before merging."""

    @property
    def cost(self) -> float | None:
        """Score lost by merging under the mask; None if nothing was scored."""
        if self.score is None or self.unmerged_score is None:
            return None
        return self.unmerged_score - self.score

    def __str__(self) -> str:
        lost = f"{percent(self.discarded, digits=1)} of the adapters' update fell on pruned weights"
        if self.score is None or self.unmerged_score is None:
            return f"{lost}. Give merge_lora() a `score` to see what that costs."
        return f"{lost}: {points(self.unmerged_score)} with adapters, {points(self.score)} merged."


def merge_lora(
    model: nn.Module,
    ticket: Ticket,
    *,
    score: Callable[[nn.Module], float] | None = None,
    scope: str | None = None,
) -> MergedLora:
    """Merge adapters into the weights that a ticket keeps, and only into those.

    PEFT's `merge_and_unload()` adds the adapters' update to every weight, pruned ones included.
    Here it is dropped where a weight is pruned, which changes what the network computes: pass
    `score` to see by how much.

    Args:
        model: a `PeftModel` whose base is the ticket's network, or one inside DataParallel, DDP or
            `torch.compile`. It is merged in place, with all of its adapters.
        ticket: the network's ticket.
        score: what a network scores, higher is better; called before and after.
        scope: the scope, as in `Ticket.hold`.

    Raises: TicketError, if the model has no adapters to merge, has merged them already, or has
        some that are not active; if the ticket is of another network, a pruned weight under an
        adapter is not zero, or the adapters are not finite.
    """
    if isinstance(model, nn.Module):
        model = unwrapped(model, peft=False)
    merge = _merging(model)
    _check_adapters(model)
    mask = ticket.mask_for(scope)
    weights = masked_parameters(model, mask)
    mask.check_zeros(weights)
    before = {n: w.detach().clone() for n, w in weights.items()}
    unmerged_score = score(model) if score else None
    merged: nn.Module = merge()
    weights = masked_parameters(merged, mask)
    discarded = _discarded(before, weights, mask)
    mask.fill(weights)
    if not isfinite(discarded):
        raise TicketError(
            "expected adapters whose update is finite, got NaN or an infinity in the merged "
            "weights. Train the adapters again, with a smaller learning rate."
        )
    return MergedLora(
        model=merged,
        discarded=discarded,
        score=score(merged) if score else None,
        unmerged_score=unmerged_score,
    )


def _merging(model: nn.Module) -> Callable[[], nn.Module]:
    """The method that merges all adapters and returns the network without them.

    Raises: TicketError, if there are none, they are merged already, or PEFT can't merge them.
    """
    merge: Any = getattr(model, "merge_and_unload", None)
    if merge is None and getattr(model, "_hf_peft_config_loaded", False):
        raise TicketError(
            f"expected a PeftModel with adapters to merge, got {type(model).__name__} with those "
            "of add_adapter(). Save them with save_pretrained(), and load them into the network "
            "with peft.PeftModel.from_pretrained()."
        )
    if merge is None and (kinds := getattr(model, "peft_config", None)):
        named = ", ".join(
            sorted({str(getattr(each.peft_type, "value", "")) for each in kinds.values()})
        )
        raise TicketError(
            f"expected adapters of weights, got those of {named}, which have no weights to merge. "
            "Use the PeftModel as it is."
        )
    if merge is None:
        raise TicketError(
            f"expected a PeftModel with adapters to merge, got {type(model).__name__}. "
            "Wrap the network with peft.get_peft_model()."
        )
    merged = [getattr(layer, "merged", None) for layer in model.modules()]
    if not any(isinstance(each, bool) for each in merged):  # PEFT's layers say so
        raise TicketError(
            f"expected adapters that are not merged yet, got {type(model).__name__} with none "
            "left. Use the `model` that the first merge_lora() returned."
        )
    if True in merged:
        raise TicketError(
            "expected adapters that are not merged yet, got merged ones, for which the cost of the "
            "mask can't be told. Call unmerge_adapter() first."
        )
    return merge  # type: ignore[no-any-return]


def _check_adapters(model: nn.Module) -> None:
    """Refuse adapters that are not active, which PEFT would drop, or not finite.

    Raises: TicketError, naming them.
    """
    layers = {
        n: m for n, m in model.named_modules() if isinstance(getattr(m, "merged", None), bool)
    }
    active = {name for layer in layers.values() for name in getattr(layer, "active_adapters", ())}
    known = sorted(getattr(model, "peft_config", {}))
    if idle := [name for name in known if name not in active]:
        raise TicketError(
            f"expected active adapters only, as all are merged, got {', '.join(map(repr, idle))} "
            f"not active. Activate them with model.base_model.set_adapter({known}), or drop each "
            f"with model.delete_adapter({idle[0]!r})."
        )
    for place, layer in layers.items():
        for name, parameter in layer.named_parameters():
            if not (name.startswith("base_layer.") or bool(torch.isfinite(parameter).all())):
                raise TicketError(
                    f"expected adapters whose update is finite, got NaN or an infinity in "
                    f"{place}.{name}. Train the adapters again, with a smaller learning rate."
                )


@torch.no_grad()
def _discarded(before: dict[str, Tensor], after: dict[str, nn.Parameter], mask: Mask) -> float:
    """The norm of an update to pruned weights over that of the whole update; 0.0 for none."""
    pruned, whole = 0.0, 0.0
    for name, old in before.items():
        squares = (after[name] - old).double().square()
        whole += float(squares.sum())
        pruned += float(squares[~mask[name].to(squares.device)].sum())
    return sqrt(pruned / whole) if whole else 0.0
