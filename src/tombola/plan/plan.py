"""Experiments as data: searches, comparisons and transfers, made of jobs; no torch.

Two experiments that want the same thing make jobs of the same key, so it is done once: the dense
run of a task and a seed is round one of every search, and the baseline of every comparison.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from itertools import product

from tombola.base.errors import SpecError
from tombola.base.specs import CourseSpec, ImpSpec, PruneSpec
from tombola.plan.cell import PLAIN, Cell, Variant
from tombola.plan.controls import control
from tombola.plan.job import Job, Subject, dense, given, one_shot, prune, scoring, train
from tombola.plan.job_spec import GivenMask, PruneJob
from tombola.ticket.schedule import rounds

__all__ = [
    "Cell",
    "Job",
    "Plan",
    "Search",
    "Subject",
    "control",
    "dense",
    "evaluate",
    "given",
    "imp",
    "one_shot",
    "prune",
    "scoring",
    "train",
    "transfer",
]


@dataclass(frozen=True)
class Plan:
    """Jobs, and what they stand for."""

    jobs: tuple[Job, ...]
    """Each once, after all that it needs."""
    cells: tuple[Cell, ...] = ()

    @classmethod
    def of(cls, wanted: Iterable[Cell | Job]) -> "Plan":
        """The plan for some cells and jobs, with everything that they need."""
        jobs: dict[str, Job] = {}
        cells = []
        for each in wanted:
            if isinstance(each, Cell):
                cells.append(each)
                _collect(each.baseline, jobs)
                _collect(each.training, jobs)
                if each.line is not None:
                    _collect(each.line, jobs)
            else:
                _collect(each, jobs)
        return cls(tuple(jobs.values()), tuple(cells))

    def needed_by(self, job: Job) -> tuple[Job, ...]:
        """The jobs that read anything of this one."""
        return tuple(self._children.get(job.key, ()))

    def readers(self, job: Job) -> tuple[Job, ...]:
        """The jobs that read the trained weights of this one."""
        return tuple(
            child
            for child in self.needed_by(job)
            if any(parent.key == job.key for parent in child.reads_weights)
        )

    @cached_property
    def _children(self) -> dict[str, list[Job]]:
        children: dict[str, list[Job]] = {}
        for job in self.jobs:
            for parent in {parent.key for parent in job.parents.values()}:
                children.setdefault(parent, []).append(job)
        return children


def _collect(wanted: Job, jobs: dict[str, Job]) -> None:
    """Add a job after its ancestors, without recursion: chains may be long."""
    stack = [wanted]
    while stack:
        job = stack[-1]
        missing = [parent for parent in job.parents.values() if parent.key not in jobs]
        if job.key in jobs or not missing:
            jobs.setdefault(job.key, job)
            stack.pop()
        else:
            stack += reversed(missing)


@dataclass(frozen=True)
class Search:
    """One seed's search on one task."""

    dense: Job
    """The training of the whole network, with which the others are compared."""
    masks: dict[Decimal, Job] = field(default_factory=dict)
    """Sparsity -> the mask found."""
    trainings: dict[Decimal, Job] = field(default_factory=dict)
    """Sparsity -> the training of the network under that mask."""
    variants: dict[Decimal, tuple[Variant, Variant]] = field(default_factory=dict)
    """Sparsity -> what it did until that mask, and until that training."""
    early: Job | None = None
    """The training until the step that weights are rewound to, unless that is before training."""


def imp(subject: Subject, spec: ImpSpec, seed: int) -> Search:
    """Iterative magnitude pruning: train, remove the smallest weights, rewind the others, again.

    Raises: SpecError, if the schedule makes no sense or the training has no such step.
    Source: Chen et al. 2020, Algorithm 1; the options are what their research code does besides.
    """
    sparsities = rounds(spec)
    point = _rewinding_point(subject, spec)
    trained = len(sparsities) + (not spec.prune_first)
    whole = CourseSpec(horizon=trained if spec.long_horizon else 1)
    early = last = None
    if point:
        what = f"dense until step {point}"
        early = train(subject, seed, what, course=replace(whole, last=point))
    if not spec.prune_first:
        what = "dense, long horizon" if spec.long_horizon else "dense"
        last = train(subject, seed, what, course=whole)
    name, details = _described(spec, point)
    search = Search(dense(subject, seed), early=early)
    done = PLAIN.then(
        *(["prune-first"] * spec.prune_first),
        *(["long-horizon"] * (whole.horizon > 1 and last is not None)),
    )
    for sparsity in sparsities:
        what = f"{subject.task.name}, seed {seed}, {name} mask"
        mask = (
            prune(subject, PruneSpec(sparsity=sparsity), what, trained=last)
            if last
            else one_shot(subject, sparsity)
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
        search.masks[sparsity], search.trainings[sparsity] = mask, last
        search.variants[sparsity] = until_mask, done
    return search


def _options(spec: ImpSpec, course: CourseSpec, point: int, *, first: bool) -> list[str]:
    """What one training of a search does; the first has none before it to go on from."""
    asked = {
        "rewind": point > 0,
        "no-rewind": spec.no_rewind and not first,
        "keep-head": spec.keep_head and not first,
        "long-horizon": course.horizon > 1,
    }
    return [option for option, done in asked.items() if done]


def _described(spec: ImpSpec, point: int) -> tuple[str, str]:
    """What a search is called, and its options, for people."""
    options = ("keep_head", "long_horizon", "prune_first")
    named = [f"from step {point}"] * (point > 0)
    named += [option.replace("_", " ") for option in options if getattr(spec, option)]
    return "standard pruning" if spec.no_rewind else "IMP", "".join(f", {each}" for each in named)


def _rewinding_point(subject: Subject, spec: ImpSpec) -> int:
    """The optimizer step that weights go back to; 0 is before training."""
    point = spec.rewind_step
    if spec.rewind_fraction:
        point = max(1, round(spec.rewind_fraction * subject.steps))
    if point >= subject.steps:
        raise SpecError(
            f"weights are rewound to a step before the end, got step {point} of the "
            f"{subject.steps} steps of a training on {subject.task.name}. Name an earlier one."
        )
    return point


# --- tests of tickets ----------------------------------------------------------


def evaluate(
    subject: Subject, mask: Job, seeds: Iterable[int], init: str = "pretrained"
) -> list[Job]:
    """The trainings of one fixed ticket, one a seed."""
    assert isinstance(mask.spec, PruneJob | GivenMask)
    what = f"ticket at {mask.spec.prune.sparsity:f}" + (f", {init}" if init != "pretrained" else "")
    return [train(subject, seed, what, mask=mask, init=init) for seed in seeds]


def transfer(
    sources: Mapping[str, Mapping[int, Mapping[Decimal, Job]]],
    targets: Mapping[str, Subject],
    sparsities: Iterable[Decimal],
    seeds: Iterable[int],
    *,
    early: Mapping[tuple[str, int], Job] | None = None,
    arm: str = "transfer",
) -> list[Cell]:
    """The tickets of some tasks, each trained on others.

    Args:
        sources: name -> seed -> sparsity -> mask.
        targets: name -> what is trained on.
        sparsities: of the masks.
        seeds: of the search and of the training that follows, which share theirs.
        early: source and seed -> the training until the step that the search rewinds to; where
            there is one, the backbone starts from its weights instead of the pre-trained ones.
        arm: name of the cells' arm.

    Raises: SpecError, if a source has no such mask, or it is of another network than a target.
    """
    cells = []
    wanted = tuple(product(sources.items(), tuple(sparsities)))
    for (target, subject), seed in product(targets.items(), tuple(seeds)):
        baseline = dense(subject, seed)
        for (source, found), sparsity in wanted:
            mask = found.get(seed, {}).get(sparsity)
            if mask is None:
                there = ", ".join(f"{each:f}" for each in found.get(seed, {})) or "none"
                raise SpecError(
                    f"expected a ticket of {source!r} at {sparsity:f} with seed {seed}, got "
                    f"{there}. Name sparsities and seeds of the search."
                )
            body = (early or {}).get((source, seed))
            from_there = f", from step {body.steps} of {source}" if body else ""
            what = f"ticket of {source} at {sparsity:f}{from_there}"
            cells.append(
                Cell(
                    arm=arm,
                    role="transfer",
                    source=source,
                    target=target,
                    sparsity=sparsity,
                    seed=seed,
                    training=train(subject, seed, what, mask=mask, body=body),
                    baseline=baseline,
                    ticket=mask,
                )
            )
    return cells
