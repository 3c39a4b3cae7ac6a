"""The kinds of arms that a plan can have: a few knobs each, and the cells that they come to.

The string under a knob is its documentation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass, replace
from functools import cache
from itertools import product
from typing import ClassVar, cast

from tombola.base.errors import SpecError
from tombola.base.registry import unknown
from tombola.base.specs import DEFAULT_CONTROLS, EvaluateSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.arm import (
    ARMS,
    FINDER,
    LAST,
    TASK_FINDER,
    Arm,
    ArmContext,
    ArmName,
    ControlName,
    Sparsities,
    TaskArm,
    TaskName,
    at_rate,
    check_seeds,
    tickets,
    with_learning_rate_of,
)
from tombola.lab.planfile.finder_arm import FinderArm
from tombola.plan.cell import PLAIN, Cell
from tombola.plan.controls import control
from tombola.plan.job import dense
from tombola.plan.plan import evaluate
from tombola.plan.subject import Subject

__all__ = ["Control", "Dense", "Evaluate", "kind_of_arm", "kinds_of_arms"]


@ARMS.register("dense")
@dataclass(frozen=True, kw_only=True)
class Dense(TaskArm):
    """The whole network."""

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """A training for each task and seed."""
        made = []
        for task, seed in self.places(context):
            job = dense(context.subjects[task], seed)
            made.append(
                Cell(arm=name, role="dense", target=task, seed=seed, training=job, baseline=job)
            )
        return made


@cache
def kind_of_arm(name: str) -> type[Arm]:
    """The kind of arm of that name: one of ARMS, or a finder's.

    Raises: SpecError, with the nearest name, if there is none.
    """
    if name in ARMS:
        return ARMS[name]
    if name not in FINDERS:
        raise unknown("kind of arm", name, kinds_of_arms())
    finder = FINDERS[name]
    search = ("search", finder.spec, field(default=finder.spec()))
    made = make_dataclass(
        f"{finder.spec.__name__}Arm",
        [search],
        bases=(FinderArm,),
        namespace={"finder": finder, "__doc__": FinderArm.__doc__},
        frozen=True,
        kw_only=True,
    )
    return cast(type[Arm], made)


def kinds_of_arms(after: Iterable[str] = ()) -> list[str]:
    """The names behind some kinds, or all; `finder` and `task finder` stand for several."""
    groups = {
        FINDER: [*FINDERS],
        TASK_FINDER: [name for name in FINDERS if not FINDERS[name].task_free],
    }
    kinds = after or (*sorted(ARMS), FINDER)
    listed = [name for kind in kinds for name in groups.get(kind, [kind])]
    return list(dict.fromkeys(listed))


@ARMS.register("control")
@dataclass(frozen=True, kw_only=True)
class Control:
    """What the tickets of another arm are compared with, each at its own sparsity and seed."""

    after: ClassVar[tuple[str, ...]] = (FINDER, "transfer", "evaluate")

    of: ArmName
    """The arm with the tickets: a finder's, transfer or evaluate."""

    names: tuple[ControlName, ...] = tuple(map(ControlName, DEFAULT_CONTROLS))
    """Controls by name."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets; by default the last of each search."""

    learning_rates: tuple[float, ...] = ()
    """Train each control with each of these rates, so that none loses for want of one; by default
    with the ticket's."""

    tasks: tuple[TaskName, ...] = ()
    """Only tickets that are trained on these tasks."""

    seeds: tuple[int, ...] = ()
    """Only tickets of these seeds."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        for rate in self.learning_rates:
            TrainSpec(learning_rate=rate)

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """A training for each ticket, control and learning rate."""
        chosen = tickets(self.of, context, self.sparsity, self.tasks, self.seeds)
        return [
            self._cell(name, context.subjects[ticket.target], ticket, kind, rate)
            for ticket in chosen
            for kind, rate in product(self.names, self.learning_rates or (None,))
        ]

    def _cell(
        self, arm: str, subject: Subject, ticket: Cell, name: str, rate: float | None
    ) -> Cell:
        assert ticket.ticket is not None
        assert ticket.sparsity is not None
        rate = rate or ticket.learning_rate
        subject = at_rate(subject, rate)
        training = control(name, subject, ticket.ticket, ticket.sparsity, ticket.seed)
        mask = training.parents["mask"]
        variant = ticket.mask_variant if mask.key == ticket.mask else PLAIN
        cell = replace(
            ticket,
            arm=arm,
            role="control",
            control=name,
            variant=variant,
            mask_variant=variant,
            learning_rate=rate,
            ticket=mask,
            compared_arm=self.of,
        )
        return replace(cell, training=with_learning_rate_of(cell, training))


@ARMS.register("evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """The fixed ticket of one search, trained with fresh seeds."""

    after: ClassVar[tuple[str, ...]] = (FINDER, "transfer")

    of: ArmName
    """The arm with the ticket: a finder's, or transfer."""

    search_seed: int = 0
    """Seed of the search whose ticket it is."""

    seeds: tuple[int, ...] = EvaluateSpec.seeds
    """Seeds of the trainings, none of them the seed of the search."""

    init: str = EvaluateSpec.init
    """What the kept weights start from: pretrained, reinit, shuffle, shuffle-layers or signs."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets; by default the last of the search."""

    tasks: tuple[TaskName, ...] = ()
    """Only tickets that are trained on these tasks."""

    def __post_init__(self) -> None:
        EvaluateSpec(init=self.init, seeds=self.seeds)
        if self.search_seed in self.seeds:
            raise SpecError(
                "a ticket is evaluated on seeds other than that of its search, got "
                f"{self.search_seed}. Use fresh seeds."
            )

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """A training for each ticket and fresh seed."""
        made = []
        chosen = (self.search_seed,)
        for ticket in tickets(self.of, context, self.sparsity, self.tasks, chosen):
            assert ticket.ticket is not None
            subject = context.subjects[ticket.target]
            trained = at_rate(subject, ticket.learning_rate)
            trainings = evaluate(trained, ticket.ticket, self.seeds, self.init)
            for seed, training in zip(self.seeds, trainings, strict=True):
                cell = replace(
                    ticket,
                    arm=name,
                    role="evaluate",
                    variant=ticket.mask_variant,
                    seed=seed,
                    baseline=dense(subject, seed),
                )
                made.append(replace(cell, training=with_learning_rate_of(cell, training)))
        return made
