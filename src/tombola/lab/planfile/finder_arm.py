"""The arms of finders: a search for each task and seed, a cell for each sparsity."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar

from tombola.base.errors import SpecError
from tombola.base.rounding import unrounded
from tombola.base.specs import FindSpec, PruneSpec, TrainSpec
from tombola.base.specs.search import check_budget
from tombola.finders.finder import Finder
from tombola.finders.rewind import RewindSpec
from tombola.lab.planfile.arm import (
    FINDER,
    LAST,
    NO_TICKET,
    ArmContext,
    ArmName,
    Sparsities,
    TaskArm,
    TaskName,
    TicketFrom,
    at_rate,
    tickets,
)
from tombola.plan.cell import AT_RATE, Cell
from tombola.plan.derived import derive_jobs, replace_teacher
from tombola.plan.job import Job, dense, pruned_already
from tombola.plan.job_spec import GivenMask, PruneJobSpec
from tombola.plan.subject import Subject
from tombola.ticket.structures import patterns_at_risk

__all__ = ["FinderArm"]

SEARCH = PruneSpec()


@dataclass(frozen=True, kw_only=True)
class FinderArm(TaskArm):
    """The tickets of a finder: a search for each task and seed, a cell for each sparsity."""

    after: ClassVar[tuple[str, ...]] = (FINDER,)
    finder: ClassVar[Finder]

    sparsity: Sparsities = LAST
    """Fraction of the scope that is zero in the end; one number, or one for each task, or lists of
    them for finders that prune once. By default the last of the rounds, or 0.7."""

    from_ticket: TicketFrom = NO_TICKET
    """Start from the ticket in a folder, or from that of another finder's arm of the same task and
    seed, `{arm: NAME, sparsity: 0.5}`; by default the last of its search."""

    budget: float = FindSpec.budget
    """Length of each search, in trainings' worth of steps, for one ticket at each sparsity; by
    default the plan's, and 0 keeps the finder's own length."""

    learning_rates: tuple[float, ...] = ()
    """Search, and train each ticket, once with each of these rates; the dense network that it is
    compared with keeps the recipe's rate."""

    search: PruneSpec = SEARCH
    """The finder's own knobs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budget(self.budget)
        for rate in self.learning_rates:
            TrainSpec(learning_rate=rate)
        for sparsities in (self.sparsity.every, *self.sparsity.by_task.values()):
            every_round = isinstance(self.search, RewindSpec) and not self.budget
            if len(sparsities) > 1 and every_round:
                raise SpecError(
                    f"sparsity must be one number in an {self.finder.name} arm, got "
                    f"{len(sparsities)}. Give the last: every round has its cells."
                )
            for spec in self._to(sparsities):
                spec.check_search()

    @property
    def of(self) -> ArmName | None:
        """The arm that it starts from, if there is one."""
        return self.from_ticket.arm or None

    def _to(self, sparsities: tuple[Decimal, ...]) -> list[PruneSpec]:
        """The spec for each of the sparsities, or for its own."""
        specs = [replace(self.search, sparsity=each) for each in sparsities]
        return specs or [self.search]

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """The trainings of each search."""
        return [
            cell
            for task, seed in self.places(context)
            for spec in self._to(self.sparsity.of(task))
            for cell in self._from_ticket(name, context, task, spec, seed)
        ]

    def _from_ticket(
        self, arm: str, context: ArmContext, task: str, spec: PruneSpec, seed: int
    ) -> Iterator[Cell]:
        """The trainings of a search at each rate, from the ticket that it starts from."""
        subject, start = context.subjects[task], self.from_ticket
        if start.folder:
            subject = context.under_ticket(subject, start.folder)
        if not start.arm:
            yield from self._at_rates(arm, subject, task, spec, seed)
            return
        (ticket,) = tickets(start.arm, context, start.sparsity, (TaskName(task),), (seed,))
        subject, place = _substituted(ticket, subject)
        for cell in self._at_rates(arm, subject, task, spec, seed):
            yield _on_ticket(ticket, place, cell)

    def _at_rates(
        self, arm: str, subject: Subject, task: str, spec: PruneSpec, seed: int
    ) -> Iterator[Cell]:
        """The trainings of a search at each rate, next to dense at the recipe's."""
        baseline = dense(subject, seed)
        for rate in self.learning_rates:
            for cell in self._search(arm, at_rate(subject, rate), task, spec, seed):
                yield _at_rate(replace(cell, baseline=baseline, learning_rate=rate), rate)
        if not self.learning_rates:
            yield from self._search(arm, subject, task, spec, seed)

    def _search(
        self, arm: str, subject: Subject, task: str, spec: PruneSpec, seed: int
    ) -> Iterator[Cell]:
        found = self.finder.search(subject, spec, seed, budget=self.budget)
        for sparsity, training in found.trainings.items():
            until_mask, variant = found.variants[sparsity]
            yield Cell(
                arm=arm,
                role="search",
                finder=self.finder.name,
                budget=self.budget,
                variant=variant,
                mask_variant=until_mask,
                source=subject.pruned_on if self.finder.task_free else task,
                target=task,
                sparsity=sparsity,
                seed=seed,
                training=training,
                baseline=found.dense,
                ticket=found.masks[sparsity],
                early=found.early,
            )


def _substituted(ticket: Cell, subject: Subject) -> tuple[Subject, Job]:
    """A subject that starts from a mask that stands for a ticket's, and the job of that mask.

    A search is planned under it as under any mask that exists already, so that neither its budget
    nor its learning rate reaches the search that comes before.
    """
    assert ticket.ticket is not None
    assert ticket.sparsity is not None
    mask = GivenMask(
        prune=PruneSpec(sparsity=ticket.sparsity),
        digest=ticket.ticket.key,
        network=subject.network,
        scope=subject.scope,
    )
    assert isinstance(ticket.ticket.spec, PruneJobSpec)
    at_risk = patterns_at_risk(ticket.ticket.spec.prune.structure)
    refused = {**subject.refused, **at_risk}
    under = replace(subject, pruned=mask, pruned_on=ticket.source, refused=refused)
    job = pruned_already(under)
    assert job is not None
    return under, job


def _on_ticket(ticket: Cell, place: Job, cell: Cell) -> Cell:
    """A cell that starts from the ticket itself, where it was planned under what stood for it."""
    mask = ticket.ticket
    assert mask is not None
    return _changed(cell, lambda job: mask if job.key == place.key else job)


def _at_rate(cell: Cell, rate: float) -> Cell:
    """A cell of a search at that rate: its trainings say so, and learn from its baseline if they
    have a teacher."""

    def at_rate(job: Job) -> Job:
        label = f"{job.label}{AT_RATE}{unrounded(rate)}" if job.kind == "train" else job.label
        return replace_teacher(cell.baseline, replace(job, label=label))

    return _changed(cell, at_rate)


def _changed(cell: Cell, change: Callable[[Job], Job]) -> Cell:
    """A cell whose trainings and masks are changed, with all that they depend on."""
    made = derive_jobs(filter(None, (cell.training, cell.ticket, cell.early)), change)
    return replace(
        cell,
        training=made[cell.training.key],
        ticket=cell.ticket and made[cell.ticket.key],
        early=cell.early and made[cell.early.key],
    )
