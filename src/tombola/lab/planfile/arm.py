"""What an arm of a plan is: from what there is, and the arms before, to cells."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import product
from typing import Any, ClassVar, NewType, Protocol

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.base.rounding import unrounded
from tombola.base.specs import EvaluateSpec
from tombola.lab.starting_ticket import StartingTickets
from tombola.plan.cell import AT_RATE, Cell
from tombola.plan.derived import replace_teacher
from tombola.plan.job import Job
from tombola.plan.subject import Subject

__all__ = [
    "ARMS",
    "FINDER",
    "LAST",
    "NO_TICKET",
    "TASK_FINDER",
    "Arm",
    "ArmContext",
    "ArmName",
    "ControlName",
    "Sparsities",
    "TaskArm",
    "TaskName",
    "TicketFrom",
    "at_rate",
    "check_seeds",
    "tickets",
    "with_learning_rate_of",
]

TaskName = NewType("TaskName", str)
ArmName = NewType("ArmName", str)
ControlName = NewType("ControlName", str)


@dataclass(frozen=True)
class Sparsities:
    """Sparsities for all tasks, and others for some."""

    every: tuple[Decimal, ...] = ()
    by_task: Mapping[str, tuple[Decimal, ...]] = field(default_factory=dict)

    def of(self, task: str) -> tuple[Decimal, ...]:
        """Those of one task."""
        return self.by_task.get(task, self.every)


LAST = Sparsities()
"""The last sparsity of each search."""


@dataclass(frozen=True, kw_only=True)
class TicketFrom:
    """The ticket that a search starts from: that of another arm, or the one in a folder."""

    arm: ArmName = ArmName("")
    """The finder's arm whose ticket of the same task and seed it is; empty if it is in a folder."""

    sparsity: Sparsities = LAST
    """The sparsity of the arm's ticket; by default the last of its search."""

    folder: str = ""
    """The folder of the ticket, where no arm has it."""

    def __post_init__(self) -> None:
        for each in (self.sparsity.every, *self.sparsity.by_task.values()):
            if len(each) > 1:
                raise SpecError(
                    f"a search starts from a ticket of one sparsity, got {len(each)}. Keep one."
                )


NO_TICKET = TicketFrom()
"""The search begins with the whole network."""


@dataclass(frozen=True)
class ArmContext:
    """What an arm stands on."""

    subjects: Mapping[str, Subject]
    """Task -> the network with it, for every task of the plan."""
    seeds: tuple[int, ...]
    """Seeds of the plan."""
    cells: Mapping[str, list[Cell]]
    """Arm -> its cells, for the arms that come before."""
    under_ticket: Callable[[Subject, str], Subject] = field(default_factory=StartingTickets)
    """Subject and folder of a ticket -> the subject of a search that starts from it."""


FINDER, TASK_FINDER = "finder", "task finder"
"""What stands for the arms of any finder, and for those of finders that look at the task."""


class Arm(Protocol):
    """One kind of arm."""

    after: ClassVar[tuple[str, ...]]
    """Kinds of arms that `of` may name, FINDER and TASK_FINDER among them; none without `of`."""

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """What an arm of that name comes to."""


ARMS: Registry[type[Arm]] = Registry("kind of arm", package="tombola.lab.planfile")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Refuse seeds that are no list of different whole numbers; none at all are the plan's."""
    if seeds:
        EvaluateSpec(seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class TaskArm:
    """An arm that needs no other: it stands on tasks and seeds of the plan."""

    after: ClassVar[tuple[str, ...]] = ()

    tasks: tuple[TaskName, ...] = ()
    """Only these tasks of the plan."""

    seeds: tuple[int, ...] = ()
    """Other seeds than the plan's."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)

    def places(self, context: ArmContext) -> Iterator[tuple[str, int]]:
        """Every task with every seed."""
        return product(self.tasks or context.subjects, self.seeds or context.seeds)


def at_rate(subject: Subject, rate: float | None) -> Subject:
    """A subject whose recipe has that learning rate; the subject itself without one."""
    if not rate:
        return subject
    return replace(subject, recipe=replace(subject.recipe, learning_rate=rate))


def with_learning_rate_of(cell: Cell, training: Job) -> Job:
    """A training for a cell, planned with a subject of `at_rate`: it says its rate, and learns from
    the cell's baseline if it has a teacher."""
    rate = "" if cell.learning_rate is None else f"{AT_RATE}{unrounded(cell.learning_rate)}"
    return replace_teacher(cell.baseline, replace(training, label=f"{training.label}{rate}"))


def tickets(
    arm: str,
    context: ArmContext,
    sparsity: Sparsities,
    tasks: tuple[TaskName, ...],
    seeds: tuple[int, ...],
) -> Iterator[Cell]:
    """The tickets of an arm at some sparsities, by default the last of each search.

    Args:
        arm: its name.
        context: what the arm stands on, with its cells.
        sparsity: the sparsities, by the task that a ticket was found on, or is trained on if found
            on none.
        tasks: the tasks that tickets are trained on; empty for all.
        seeds: the seeds of the tickets; empty for all.

    Raises: SpecError, if there is no such ticket.
    """
    rates = {cell.learning_rate for cell in context.cells[arm]}
    if len(rates) > 1:
        raise SpecError(
            f"tickets come from an arm with one learning rate, got {len(rates)} in {arm!r}. "
            "Give each rate its own arm."
        )
    searches: dict[tuple[str, str, int], dict[Decimal | None, Cell]] = {}
    for cell in context.cells[arm]:
        search = (cell.source, cell.target, cell.seed)
        searches.setdefault(search, {})[cell.sparsity] = cell
    _check_there("task", arm, tasks, [target for _, target, _ in searches])
    _check_there("seed", arm, seeds, [seed for _, _, seed in searches])
    for (source, target, seed), found in searches.items():
        if (not tasks or target in tasks) and (not seeds or seed in seeds):
            wanted = sparsity.of(source or target) or (max(found, key=lambda each: each or 0),)
            _check_there("sparsity", arm, wanted, found)
            yield from (found[each] for each in wanted)


def _check_there(what: str, arm: str, wanted: Iterable[Any], there: Iterable[Any]) -> None:
    """Refuse what an arm hasn't got."""
    known = list(dict.fromkeys(there))
    for each in wanted:
        if each not in known:
            raise SpecError(
                f"expected a {what} of the arm {arm!r}, got {each}. "
                f"It has: {', '.join(map(str, known))}."
            )
