"""Several masks compared, as JSON: every pair and what chance gives, agreement, anatomies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

from tombola.base.errors import SpecError, TicketError
from tombola.lab.store.artifacts import has_mask, read_mask
from tombola.lab.store.result_store import Store
from tombola.plan.cell import Cell
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.study.masks.anatomy import anatomy
from tombola.study.masks.overlap import Overlap, agreement, overlap
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket

__all__ = ["NamedMask", "compare_masks", "masks_of_plan", "masks_of_tickets", "refuse_too_few"]


@dataclass(frozen=True)
class NamedMask:
    """One of the masks that are compared."""

    name: str
    mask: Mask
    about: dict[str, Any]
    """What else is known of it, as JSON has it."""


def masks_of_tickets(folders: Sequence[str]) -> list[NamedMask]:
    """The masks of ticket folders.

    Raises: TicketError, if one is damaged or belongs to another network than the first.
    """
    tickets = {folder: Ticket.load(folder) for folder in dict.fromkeys(folders)}
    (first, ours), *rest = tickets.items()
    for folder, theirs in rest:
        if theirs.fingerprint != ours.fingerprint:
            raise TicketError(
                f"expected tickets of one network, got {first!r} of {ours.model} "
                f"({ours.fingerprint[:12]}) and {folder!r} of {theirs.model} "
                f"({theirs.fingerprint[:12]}). Compare tickets that were found in the same network."
            )
    return [
        NamedMask(
            folder,
            ticket.mask,
            {
                "model": ticket.model,
                "fingerprint": ticket.fingerprint,
                "task": ticket.task,
                "seed": ticket.seed,
                "digest": ticket.mask.digest(),
            },
        )
        for folder, ticket in tickets.items()
    ]


def masks_of_plan(plan: Plan, store: Store, sparsity: Decimal | None = None) -> list[NamedMask]:
    """The masks of a plan at one sparsity, by default its highest, as far as they are done."""
    chosen = _cells_of_masks(plan, sparsity or _highest(plan))
    labels = Counter(cell.ticket.label for cell in chosen.values() if cell.ticket)
    return [
        NamedMask(
            _name(cell, cell.ticket, labels),
            read_mask(store, key),
            {"arm": cell.arm, "key": key},
        )
        for key, cell in chosen.items()
        if cell.ticket and store.intact(key) and has_mask(store, key)
    ]


def refuse_too_few(masks: Sequence[NamedMask], plan: Plan, sparsity: Decimal | None = None) -> None:
    """Refuse to compare fewer than two masks of a plan.

    Args:
        masks: those that are done.
        plan: the plan that they are of.
        sparsity: their sparsity; None for the plan's highest.

    Raises: SpecError, with the sparsities that the plan has.
    """
    if len(masks) < 2:
        wanted = sparsity or _highest(plan)
        there = ", ".join(sorted({f"{each:f}" for each in _sparsities(plan)})) or "none"
        raise SpecError(
            f"expected two masks or more of one sparsity, got {len(masks)} of "
            f"{len(_cells_of_masks(plan, wanted))} at {wanted} in the store; the plan has masks "
            f"at {there}. Run the plan first."
        )


def _sparsities(plan: Plan) -> list[Decimal]:
    return [cell.sparsity for cell in plan.cells if cell.ticket and cell.sparsity is not None]


def _highest(plan: Plan) -> Decimal | None:
    return max(filter(None, _sparsities(plan)), default=None)


def _cells_of_masks(plan: Plan, sparsity: Decimal | None) -> dict[str, Cell]:
    """Key of a mask of that sparsity -> the first cell that has it."""
    found: dict[str, Cell] = {}
    for cell in plan.cells:
        if cell.ticket and cell.sparsity is not None and cell.sparsity == sparsity:
            found.setdefault(cell.ticket.key, cell)
    return found


def _name(cell: Cell, mask: Job, labels: Mapping[str, int]) -> str:
    """The label of a mask, after the arm if another arm has a mask of that label."""
    return f"{cell.arm}: {mask.label}" if labels[mask.label] > 1 else mask.label


def compare_masks(members: Sequence[NamedMask], heads: int | None) -> dict[str, Any]:
    """Every pair of some masks, all of them together, and each by itself.

    Args:
        members: two or more, of one network.
        heads: attention heads of a block of it; None if unknown.

    Raises: TicketError, if names or shapes differ; SpecError, for fewer than two.
    """
    if len(members) < 2:
        raise SpecError(f"an overlap is of two masks or more, got {len(members)}. Pass another.")
    for member in members[1:]:
        members[0].mask.check(member.mask, f"mask of {member.name}")
    pairs = []
    for a, b in combinations(members, 2):
        whole, each = overlap(a.mask, b.mask)
        layers = [{"matrix": one.matrix, **_facts(one)} for one in each]
        pairs.append({"a": a.name, "b": b.name, **_facts(whole), "layers": layers})
    return {
        "masks": [
            {
                "name": member.name,
                **member.about,
                "size": member.mask.size,
                "dead": member.mask.pruned,
                "layers": member.mask.layer_sparsities(),
                "anatomy": asdict(anatomy(member.mask, heads)),
            }
            for member in members
        ],
        "pairs": pairs,
        "agreement": asdict(agreement(member.mask for member in members)),
    }


def _facts(found: Overlap) -> dict[str, Any]:
    return {
        "size": found.size,
        "dead": list(found.pruned),
        "both": found.both,
        "expected": found.expected,
        "jaccard": found.jaccard,
        "chance": found.chance,
        "z": found.z,
    }
