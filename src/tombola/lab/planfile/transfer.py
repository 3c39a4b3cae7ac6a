"""The arm `transfer`: the tickets of some tasks, trained on others."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar

from tombola.base.errors import SpecError
from tombola.base.registry import unknown
from tombola.lab.planfile.arm import (
    ARMS,
    LAST,
    TASK_FINDER,
    ArmContext,
    ArmName,
    Sparsities,
    TaskName,
    at_rate,
    check_seeds,
    tickets,
    with_learning_rate_of,
)
from tombola.plan.cell import Cell
from tombola.plan.job import Job, dense
from tombola.plan.plan import transfer
from tombola.plan.subject import Subject

__all__ = ["Transfer"]

STARTS = ("pretrained", "rewound")


@ARMS.register("transfer")
@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The tickets of some tasks, trained on others with the seed of their search."""

    after: ClassVar[tuple[str, ...]] = (TASK_FINDER,)

    of: ArmName
    """The arm with the tickets, of a finder that looks at the task."""

    sources: tuple[TaskName, ...] = ()
    """Only tickets that were found on these tasks."""

    targets: tuple[TaskName, ...] = ()
    """Only these tasks are trained on."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets, by the task they were found on; by default the last."""

    seeds: tuple[int, ...] = ()
    """Only tickets of these seeds."""

    start: str = "pretrained"
    """What the backbone starts from: pretrained, or rewound for the weights that the search rewinds
    to, trained on the source until then. The head is fresh either way."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if self.start not in STARTS:
            raise unknown("start of a transfer", self.start, STARTS)

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """A training for each source, target, sparsity and seed."""
        found: dict[str, dict[int, dict[Decimal, Job]]] = {}
        chosen: dict[str, dict[Decimal, None]] = {}
        early: dict[tuple[str, int], Job] = {}
        origins: dict[str | None, Cell] = {}
        for ticket in tickets(self.of, context, self.sparsity, self.sources, self.seeds):
            assert ticket.ticket is not None
            assert ticket.sparsity is not None
            masks = found.setdefault(ticket.source, {}).setdefault(ticket.seed, {})
            masks[ticket.sparsity] = ticket.ticket
            chosen.setdefault(ticket.source, {})[ticket.sparsity] = None
            origins[ticket.mask] = ticket
            if self.start == "rewound":
                early[ticket.source, ticket.seed] = self._early(ticket)
        rate = next((ticket.learning_rate for ticket in origins.values()), None)  # all have one
        targets = {task: context.subjects[task] for task in self.targets or context.subjects}
        trained = {task: at_rate(subject, rate) for task, subject in targets.items()}
        return [
            _from(cell, origins[cell.mask], targets[cell.target])
            for source, masks in found.items()
            for cell in transfer(
                {source: masks}, trained, chosen[source], masks, early=early, arm=name
            )
        ]

    def _early(self, ticket: Cell) -> Job:
        if ticket.early is None:
            raise SpecError(
                f"start: rewound needs a search that rewinds to a later step, got {self.of!r}, "
                "which doesn't. Give that a rewind_step or a rewind_fraction, or leave start out."
            )
        return ticket.early


def _from(cell: Cell, ticket: Cell, target: Subject) -> Cell:
    """A cell of a transfer, with what is known of the search that its ticket comes from, next to
    dense at the recipe's rate."""
    variant = ticket.mask_variant
    if body := cell.training.parents.get("body"):
        variant = variant.then("rewind", rewind_step=body.steps)
    known = replace(
        cell,
        finder=ticket.finder,
        budget=ticket.budget,
        variant=variant,
        mask_variant=ticket.mask_variant,
        learning_rate=ticket.learning_rate,
        baseline=dense(target, cell.seed),
    )
    return replace(known, training=with_learning_rate_of(known, cell.training))
