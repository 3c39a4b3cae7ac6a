"""Iterative pruning with rewinding: its knobs, and the jobs of a search."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from tombola.base.errors import SpecError
from tombola.base.fields import refuse_above
from tombola.base.keys import exact_fraction
from tombola.base.specs import CourseSpec, PruneSpec
from tombola.base.specs.prune import N_OF_M, Implied
from tombola.base.specs.spec import STEPS
from tombola.finders.finder import Finder
from tombola.finders.shapes import pruning
from tombola.ticket.schedule import round_sparsities

if TYPE_CHECKING:
    from tombola.plan.job import Job
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject

__all__ = ["RewindSpec", "prune_and_rewind"]


@dataclass(frozen=True, kw_only=True)
class RewindSpec(PruneSpec):
    """Iterative pruning: how fast weights are pruned, and what the others go back to."""

    schedule: str = "linear"
    """How sparsity grows: linear prunes the same share of all weights in each round, geometric the
    same share of those that are left."""

    step: Decimal = Decimal("0.1")
    """The share that each round prunes, in (0, 1)."""

    rounds: tuple[Decimal, ...] = ()
    """Sparsities after each round, the last being the final one; replaces schedule and step."""

    rewind_step: int = 0
    """Rewind weights, head and learning rate to this optimizer step; 0 is before training."""

    rewind_fraction: Decimal = Decimal(0)
    """Rewind to the step after this fraction of a training, in [0, 1), instead of naming it."""

    no_rewind: bool = False
    """Never rewind: each round trains the weights of the last one further (standard pruning)."""

    keep_head: bool = False
    """Rewind the encoder only: the task head is trained further from round to round."""

    long_horizon: bool = False
    """Decay the learning rate over all rounds together, beginning at its peak in each of them."""

    prune_first: bool = False
    """Take the first mask from the pre-trained magnitudes, before any training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("step", "rewind_fraction"):
            object.__setattr__(self, name, exact_fraction(getattr(self, name), name))
        if self.rounds:
            self._check_rounds()
        if N_OF_M.fullmatch(self.structure) and len(self.rounds) != 1:
            raise SpecError(
                f"the structure {self.structure} is reached in one round, got several. "
                f"Write rounds {self.sparsity:f}."
            )
        self.check_sparse()
        refuse_above(self.rewind_step, STEPS, "rewind_step")
        if self.rewind_step < 0:
            raise SpecError(f"rewind_step must be 0 or more, got {self.rewind_step}.")
        if self.rewind_step and self.rewind_fraction:
            raise SpecError(
                f"rewind_step and rewind_fraction are two ways to name one step, got "
                f"{self.rewind_step} and {self.rewind_fraction}. Leave one out."
            )
        for name in ("rewind_step", "rewind_fraction", "keep_head"):
            if self.no_rewind and getattr(self, name):
                raise SpecError(
                    f"no_rewind trains all weights further, and {name} says what to rewind, "
                    f"got both. Leave one out."
                )

    def check_search(self) -> None:
        """Refuse a schedule of no or too many rounds."""
        _ = self.path

    @classmethod
    def of_mask(cls, sparsity: Decimal, structure: str, knobs: Mapping[str, Any]) -> Self:
        """The spec of one mask: the search that ends with its round."""
        return cls(sparsity=sparsity, structure=structure, rounds=(sparsity,), **knobs)

    def _implied(self) -> Implied:
        """The last of the rounds, if there are any."""
        last = self.rounds[-1:]
        return (
            Implied(exact_fraction(last[0], "each of the rounds")) if last else super()._implied()
        )

    def _check_rounds(self) -> None:
        """Refuse rounds that don't rise or that another knob contradicts."""
        rounds = tuple(exact_fraction(each, "each of the rounds") for each in self.rounds)
        listed = ", ".join(f"{each:f}" for each in rounds)
        if any(now <= before for before, now in pairwise((Decimal(0), *rounds))):
            raise SpecError(f"rounds must be rising sparsities above 0, got {listed}.")
        for name in ("schedule", "step"):
            if getattr(self, name) != getattr(RewindSpec, name):
                raise SpecError(
                    f"rounds give every sparsity outright, got {listed} and {name} "
                    f"{getattr(self, name)}. Leave one out."
                )
        if self.sparsity != rounds[-1]:
            raise SpecError(
                f"the last of the rounds is the final sparsity, got rounds {listed} and sparsity "
                f"{self.sparsity:f}. Leave sparsity out."
            )
        object.__setattr__(self, "rounds", rounds)

    @property
    def path(self) -> tuple[Decimal, ...]:
        """The sparsity after each round: those that it names, or by schedule and step.

        Raises: SpecError, as `ticket.schedule.path`.
        """
        return self.rounds or round_sparsities(
            self.schedule, sparsity=self.sparsity, step=self.step
        )


def prune_and_rewind(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """Train, prune the lowest-scored weights, rewind the others, again.

    Raises: SpecError, if the schedule makes no sense or the training has no such step.
    Source: Chen et al. 2020, Algorithm 1; the options are what their research code does besides.
    """
    from tombola.plan.cell import PLAIN
    from tombola.plan.job import dense, train
    from tombola.plan.plan import Search

    assert isinstance(spec, RewindSpec)
    begun = subject.pruned.prune.sparsity if subject.pruned else 0
    sparsities = [sparsity for sparsity in spec.path if sparsity > begun]
    point = _rewinding_point(subject, spec)
    trained = len(sparsities) + (not spec.prune_first)
    whole = CourseSpec(horizon=trained if spec.long_horizon else 1)
    early, last = _first_trainings(subject, spec, seed, whole, point)
    name, details = _described(finder, spec, point)
    search = Search(dense(subject, seed), early=early)
    done = PLAIN.then(
        *(["prune-first"] if spec.prune_first else []),
        *(["long-horizon"] if whole.horizon > 1 and last is not None else []),
    )
    for sparsity in sparsities:
        label = name if last else "one-shot"
        mask = pruning(
            *(finder, subject, spec, sparsity, seed),
            planned=RewindSpec,
            label=label,
            trained=last,
        )
        options = _options(spec, whole, point, first=last is None)
        last = train(
            subject,
            seed,
            f"{name} at {sparsity:f}{details}",
            mask=mask,
            start=last if spec.no_rewind else early,
            head=last if spec.keep_head else None,
            course=replace(whole, first=point),
        )
        until_mask, done = done, done.then(*options, rewind_step=point)
        search.add(sparsity, mask, last, (until_mask, done))
    return search


def _first_trainings(
    subject: "Subject", spec: RewindSpec, seed: int, whole: CourseSpec, point: int
) -> "tuple[Job | None, Job | None]":
    """The training until the step that is rewound to, and the one that the first mask is made from,
    of the whole network or under the ticket that the search starts from; None where there is
    none."""
    from tombola.plan.job import pruned_already, train

    base, early, last = pruned_already(subject), None, None
    begun = base.label if base else "dense"
    if point:
        what = f"{begun} until step {point}"
        early = train(subject, seed, what, mask=base, course=replace(whole, last=point))
    if not spec.prune_first:
        what = f"{begun}, long horizon" if spec.long_horizon else begun
        last = train(subject, seed, what, mask=base, course=whole)
    return early, last


def _options(spec: RewindSpec, course: CourseSpec, point: int, *, first: bool) -> list[str]:
    """What one training of a search does; the first has none before it to go on from."""
    asked = {
        "rewind": point > 0,
        "no-rewind": spec.no_rewind and not first,
        "keep-head": spec.keep_head and not first,
        "long-horizon": course.horizon > 1,
    }
    return [option for option, done in asked.items() if done]


def _described(finder: Finder, spec: RewindSpec, point: int) -> tuple[str, str]:
    """What a search is called, and its options, for people."""
    options = ("keep_head", "long_horizon", "prune_first")
    named = [f"from step {point}"] if point > 0 else []
    named += [option.replace("_", " ") for option in options if getattr(spec, option)]
    standard = spec.no_rewind and not type(spec).no_rewind
    return "standard pruning" if standard else finder.label, "".join(f", {each}" for each in named)


def _rewinding_point(subject: "Subject", spec: RewindSpec) -> int:
    """The optimizer step that weights go back to; 0 is before training."""
    point = spec.rewind_step
    if spec.rewind_fraction:
        point = max(1, round(spec.rewind_fraction * subject.steps))
    if point >= subject.steps:
        raise SpecError(
            f"weights are rewound to a step before the end, got step {point} of the "
            f"{subject.steps} steps of a training on {subject.task.name}. Use an earlier one."
        )
    return point
