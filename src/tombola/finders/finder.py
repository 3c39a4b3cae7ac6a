"""A finder of tickets: its knobs, how it is planned, and how it makes a mask.

Adding one takes one file in this folder, or an entry point of the group `tombola.finders` in
another package; docs/how-to/finders.md shows how. Nothing here loads torch.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.base.specs import FindSpec, LabSpec, PruneSpec, Spec, TaskSpec, TrainSpec
from tombola.finders.budget import within_budget
from tombola.finders.evidence import Evidence

if TYPE_CHECKING:
    from tombola.plan.job_spec import PruneJobSpec
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask

__all__ = [
    "FINDERS",
    "Finder",
    "Make",
    "PlanShape",
    "Pruned",
    "finder",
    "finder_of_scores",
    "refuse_knobs_of_others",
]

GROUP = "tombola.finders"
"""Group of the entry points by which other packages bring finders."""

S = TypeVar("S", bound=PruneSpec)


@dataclass(frozen=True)
class Pruned:
    """What a finder makes."""

    mask: "Mask"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything else to record, as JSON can hold it."""


PlanShape: TypeAlias = "Callable[[Finder, Subject, PruneSpec, int], Search]"
"""(finder, subject, its spec, seed) -> the jobs of one search."""

Make: TypeAlias = "Callable[[Evidence, Any, Mask], Pruned]"
"""(evidence, the finder's spec, what is pruned already) -> a mask as sparse as the spec."""


@dataclass(frozen=True)
class Finder:
    """One way to find a ticket."""

    name: str
    """Value of --finder, kind of an arm, and name in tables."""
    spec: type[PruneSpec]
    """Its knobs: flags, fields of an arm, and part of the key."""
    plan: PlanShape
    """Which jobs a search takes."""
    make: Make
    """How one of them makes a mask."""
    scores: str
    """What ranks the weights, in keys; finders that share it make the same mask of the same
    weights."""
    label: str
    """What it is called in labels, for people."""
    source: str
    """Where it was published; may be empty."""
    task_free: bool
    """Whether it looks at weights alone, so that one mask serves all tasks."""

    def named(self) -> dict[str, str]:
        """Its name and label, as a result has them."""
        return {"name": self.name, "label": self.label}

    @property
    def about(self) -> str:
        """What it does, in a line."""
        return (self.make.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    def search(
        self, subject: "Subject", spec: PruneSpec, seed: int, *, budget: float = 0.0
    ) -> "Search":
        """The jobs of one search.

        Args:
            subject: network, task and recipe, and the ticket that the search starts from.
            spec: the finder's knobs.
            seed: the seed of the search.
            budget: its length in trainings' worth of steps, for the final ticket only; 0
                for no budget.

        Raises: SpecError, if they make no sense.
        """

        def planned(subject: "Subject") -> "Search":
            return self.plan(self, subject, spec, seed)

        begun = subject.pruned.prune.sparsity if subject.pruned else None
        if begun is not None and spec.sparsity <= begun:
            raise SpecError(
                f"sparsity must be above {begun:f}, that of the ticket that the search starts "
                f"from, got {spec.sparsity:f}. Use a higher one."
            )
        if budget:
            found = within_budget(budget, spec.sparsity, subject, planned)
        else:
            found = planned(subject)
        return found if begun is None else found.under_ticket()

    def read(self, job: "PruneJobSpec") -> PruneSpec:
        """The spec that a job was made with."""
        return self.spec.of_mask(job.prune.sparsity, job.prune.structure, job.knobs)


class _Finders(Registry[Finder]):
    """Finders by name: those of this folder, and those that other packages bring."""

    def __getitem__(self, name: str) -> Finder:
        if name not in self._plugins:
            for point in entry_points(group=GROUP, name=name):
                point.load()
        return super().__getitem__(name)

    def __contains__(self, name: str) -> bool:
        return super().__contains__(name) or name in entry_points(group=GROUP).names

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*super().__iter__(), *sorted(entry_points(group=GROUP).names)]))

    def __len__(self) -> int:
        return len([*iter(self)])


FINDERS = _Finders("finder", package=__package__)


def finder(
    name: str,
    spec: type[S],
    *,
    plan: PlanShape,
    scores: str = "",
    label: str = "",
    source: str = "",
    task_free: bool = False,
) -> "Callable[[Callable[[Evidence, S, Mask], Pruned]], Callable[[Evidence, S, Mask], Pruned]]":
    """Enter a function as a finder; the first line of its docstring says what it does.

    Args:
        name: value of --finder, kind of an arm, and name in tables.
        spec: a dataclass with its knobs.
        plan: one of `prune_once`, `prune_and_rewind` and `train_mask`.
        scores: what ranks the weights, in keys; by default the finder's name.
        label: what it is called in labels; by default its name.
        source: where it was published, such as "Lee et al. 2019".
        task_free: whether it looks at weights alone, so that one mask serves all tasks.
    """

    def enter(make: "Callable[[Evidence, S, Mask], Pruned]") -> Any:
        made = Finder(name, spec, plan, make, scores or name, label or name, source, task_free)
        FINDERS.register(name)(made)
        return make

    return enter


def finder_of_scores(scores: str) -> Finder:
    """The finder that makes the masks of a prune job.

    Raises: SpecError, if there is none.
    """
    named = (FINDERS[name] for name in FINDERS if name != scores)
    return FINDERS[scores] if scores in FINDERS else _sharing(scores, named)


def refuse_knobs_of_others(finder: Finder, options: Iterable[str]) -> None:
    """Refuse a knob that another finder has and this one doesn't.

    Raises: SpecError, naming the finders that have it.
    """
    for option in options:
        name = option.removeprefix("--").replace("-", "_")
        if name in _names(finder.spec) | SHARED:
            continue
        if others := [each for each in FINDERS if name in _names(FINDERS[each].spec)]:
            raise SpecError(
                f"--{name.replace('_', '-')} is a knob of the finder {' and '.join(others)}, got "
                f"it with {finder.name}. Leave it out, or use --finder {others[0]}."
            )


def _sharing(scores: str, finders: Iterator[Finder]) -> Finder:
    sharing = [each for each in finders if each.scores == scores]
    return max(sharing, key=lambda each: each.task_free) if sharing else FINDERS[scores]


def _names(spec: type[Spec]) -> set[str]:
    return {field.name for field in dataclasses.fields(spec)}


SHARED = set().union(*map(_names, (FindSpec, TaskSpec, TrainSpec, LabSpec)))
"""Knobs that a search has whatever its finder."""
