"""The kinds of arms that a plan can have: a few knobs each, and the cells that they come to.

The string under a knob is its documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import ClassVar

from tombola.base.errors import SpecError
from tombola.base.registry import unknown
from tombola.base.specs import CONTROLS, EvaluateSpec, ImpSpec, TrainSpec
from tombola.lab.planfile.arm import (
    ARMS,
    ArmName,
    ControlName,
    Ground,
    Sparsities,
    TaskName,
    check_seeds,
    tickets,
)
from tombola.lab.planfile.connectivity import Connectivity
from tombola.plan import plan as plans
from tombola.plan.cell import PLAIN, Cell
from tombola.plan.plan import Job, Subject
from tombola.ticket.schedule import rounds

__all__ = ["ARMS", "Connectivity", "Control", "Dense", "Evaluate", "Imp", "OneShot", "Transfer"]

SEARCH = ImpSpec()
SEVENTY = Sparsities((SEARCH.sparsity,))
LAST = Sparsities()
STARTS = ("pretrained", "rewound")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An arm that needs no other: it stands on tasks and seeds of the plan."""

    after: ClassVar[tuple[str, ...]] = ()

    tasks: tuple[TaskName, ...] = ()
    """Only these tasks of the plan."""

    seeds: tuple[int, ...] = ()
    """Other seeds than the plan's."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)

    def places(self, ground: Ground) -> Iterator[tuple[str, int]]:
        """Every task with every seed."""
        return product(self.tasks or ground.subjects, self.seeds or ground.seeds)


@ARMS.register("dense")
@dataclass(frozen=True, kw_only=True)
class Dense(Placed):
    """The whole network."""

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """A training for each task and seed."""
        made = []
        for task, seed in self.places(ground):
            job = plans.dense(ground.subjects[task], seed)
            made.append(
                Cell(arm=name, role="dense", target=task, seed=seed, training=job, baseline=job)
            )
        return made


@ARMS.register("imp")
@dataclass(frozen=True, kw_only=True)
class Imp(Placed):
    """Iterative magnitude pruning: a search for each task and seed, a cell for each round."""

    sparsity: Sparsities = LAST
    """Fraction of the scope that is zero in the end; one number, or one for each task. By default
    the last of the rounds, or 0.7."""

    search: ImpSpec = SEARCH
    """How weights are removed and rewound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for sparsities in (self.sparsity.every, *self.sparsity.by_task.values()):
            if len(sparsities) > 1:
                raise SpecError(
                    f"sparsity is one number in an imp arm, got {len(sparsities)}. Name the last: "
                    "every round has a cell."
                )
            rounds(self._to(sparsities))

    def _to(self, sparsities: tuple[Decimal, ...]) -> ImpSpec:
        """The search to the one sparsity that there is, or to its own."""
        return replace(self.search, sparsity=sparsities[0]) if sparsities else self.search

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """The trainings of each search."""
        made = []
        for task, seed in self.places(ground):
            spec = self._to(self.sparsity.of(task))
            found = plans.imp(ground.subjects[task], spec, seed)
            for sparsity, training in found.trainings.items():
                until_mask, variant = found.variants[sparsity]
                made.append(
                    Cell(
                        arm=name,
                        role="search",
                        finder="imp",
                        variant=variant,
                        mask_variant=until_mask,
                        source=task,
                        target=task,
                        sparsity=sparsity,
                        seed=seed,
                        training=training,
                        baseline=found.dense,
                        ticket=found.masks[sparsity],
                        early=found.early,
                    )
                )
        return made


@ARMS.register("one-shot")
@dataclass(frozen=True, kw_only=True)
class OneShot(Placed):
    """The masks of the largest pre-trained weights, trained on each task."""

    sparsity: Sparsities = SEVENTY
    """Sparsities of the masks; some for all tasks, or some for each."""

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """A training for each task, seed and sparsity."""
        made = []
        for task, seed in self.places(ground):
            subject = ground.subjects[task]
            for sparsity in self.sparsity.of(task):
                mask = plans.one_shot(subject, sparsity)
                made.append(
                    Cell(
                        arm=name,
                        role="search",
                        finder="one-shot",
                        target=task,
                        sparsity=sparsity,
                        seed=seed,
                        training=plans.train(subject, seed, f"one-shot at {sparsity:f}", mask=mask),
                        baseline=plans.dense(subject, seed),
                        ticket=mask,
                    )
                )
        return made


@ARMS.register("control")
@dataclass(frozen=True, kw_only=True)
class Control:
    """What the tickets of another arm are compared with, each at its own sparsity and seed."""

    after: ClassVar[tuple[str, ...]] = ("imp", "one-shot", "transfer", "evaluate")

    of: ArmName
    """The arm with the tickets: imp, one-shot, transfer or evaluate."""

    names: tuple[ControlName, ...] = tuple(map(ControlName, CONTROLS))
    """Controls by name."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets; by default the last of each search."""

    learning_rates: tuple[float, ...] = ()
    """Train each control with each of these rates, so that none loses for its recipe."""

    tasks: tuple[TaskName, ...] = ()
    """Only tickets that are trained on these tasks."""

    seeds: tuple[int, ...] = ()
    """Only tickets of these seeds."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        for rate in self.learning_rates:
            TrainSpec(learning_rate=rate)

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """A training for each ticket, control and learning rate."""
        chosen = tickets(self.of, ground, self.sparsity, self.tasks, self.seeds)
        return [
            self._cell(name, ground.subjects[ticket.target], ticket, control, rate)
            for ticket in chosen
            for control, rate in product(self.names, self.learning_rates or (0.0,))
        ]

    def _cell(self, arm: str, subject: Subject, ticket: Cell, name: str, rate: float) -> Cell:
        assert ticket.ticket is not None
        assert ticket.sparsity is not None
        if rate:
            subject = replace(subject, recipe=replace(subject.recipe, learning_rate=rate))
        training = plans.control(name, subject, ticket.ticket, ticket.sparsity, ticket.seed)
        swept = f", learning rate {rate:g}" if rate else ""
        mask = training.parents["mask"]
        variant = ticket.mask_variant if mask.key == ticket.mask else PLAIN
        return replace(
            ticket,
            arm=arm,
            role="control",
            control=name,
            variant=variant,
            mask_variant=variant,
            learning_rate=rate or None,
            training=replace(training, label=f"{training.label}{swept}"),
            ticket=mask,
            compared_arm=self.of,
        )


@ARMS.register("evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """The fixed ticket of one search, trained with fresh seeds."""

    after: ClassVar[tuple[str, ...]] = ("imp", "one-shot", "transfer")

    of: ArmName
    """The arm with the ticket: imp, one-shot or transfer."""

    search_seed: int = 0
    """Seed of the search whose ticket it is."""

    seeds: tuple[int, ...] = EvaluateSpec.seeds
    """Seeds of the trainings, none of them the seed of the search."""

    init: str = EvaluateSpec.init
    """What the living weights start from: pretrained, reinit, shuffle or shuffle-layers."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets; by default the last of the search."""

    tasks: tuple[TaskName, ...] = ()
    """Only tickets that are trained on these tasks."""

    def __post_init__(self) -> None:
        EvaluateSpec(init=self.init, seeds=self.seeds)
        if self.search_seed in self.seeds:
            raise SpecError(
                f"a ticket is evaluated on seeds other than that of its search, got "
                f"{self.search_seed}. Name fresh seeds."
            )

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """A training for each ticket and fresh seed."""
        made = []
        chosen = (self.search_seed,)
        for ticket in tickets(self.of, ground, self.sparsity, self.tasks, chosen):
            assert ticket.ticket is not None
            subject = ground.subjects[ticket.target]
            trainings = plans.evaluate(subject, ticket.ticket, self.seeds, self.init)
            for seed, training in zip(self.seeds, trainings, strict=True):
                baseline = plans.dense(subject, seed)
                made.append(
                    replace(
                        ticket,
                        arm=name,
                        role="evaluate",
                        variant=ticket.mask_variant,
                        seed=seed,
                        training=training,
                        baseline=baseline,
                    )
                )
        return made


@ARMS.register("transfer")
@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The tickets of some tasks, trained on others with the seed of their search."""

    after: ClassVar[tuple[str, ...]] = ("imp",)

    of: ArmName
    """The imp arm with the tickets."""

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

    def cells(self, name: str, ground: Ground) -> list[Cell]:
        """A training for each source, target, sparsity and seed."""
        found: dict[str, dict[int, dict[Decimal, Job]]] = {}
        chosen: dict[str, dict[Decimal, None]] = {}
        early: dict[tuple[str, int], Job] = {}
        origins: dict[str | None, Cell] = {}
        for ticket in tickets(self.of, ground, self.sparsity, self.sources, self.seeds):
            assert ticket.ticket is not None
            assert ticket.sparsity is not None
            masks = found.setdefault(ticket.source, {}).setdefault(ticket.seed, {})
            masks[ticket.sparsity] = ticket.ticket
            chosen.setdefault(ticket.source, {})[ticket.sparsity] = None
            origins[ticket.mask] = ticket
            if self.start == "rewound":
                early[ticket.source, ticket.seed] = self._early(ticket)
        targets = {task: ground.subjects[task] for task in self.targets or ground.subjects}
        return [
            _from(cell, origins[cell.mask])
            for source, masks in found.items()
            for cell in plans.transfer(
                {source: masks}, targets, chosen[source], masks, early=early, arm=name
            )
        ]

    def _early(self, ticket: Cell) -> Job:
        if ticket.early is None:
            raise SpecError(
                f"start: rewound needs a search that rewinds to a later step, got {self.of!r}, "
                "which doesn't. Give that a rewind_step or a rewind_fraction, or leave start out."
            )
        return ticket.early


def _from(cell: Cell, ticket: Cell) -> Cell:
    """A cell of a transfer, with what is known of the search that its ticket comes from."""
    variant = ticket.mask_variant
    if body := cell.training.parents.get("body"):
        variant = variant.then("rewind", rewind_step=body.steps)
    return replace(cell, finder=ticket.finder, variant=variant, mask_variant=ticket.mask_variant)
