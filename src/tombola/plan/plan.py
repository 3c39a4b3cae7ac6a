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
from tombola.plan.cell import FROM_TICKET, PLAIN, Cell, Variant
from tombola.plan.job import Job, dense, train
from tombola.plan.job_spec import as_mask
from tombola.plan.subject import Subject

__all__ = ["Plan", "Search", "evaluate", "transfer"]


@dataclass(frozen=True)
class Plan:
    """Jobs, and what they stand for."""

    jobs: tuple[Job, ...]
    """Each once, after all that it needs."""
    cells: tuple[Cell, ...] = ()
    kept: frozenset[str] = frozenset()
    """Keys of the trainings whose weights are read once the jobs are done."""

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

    def children(self, job: Job) -> tuple[Job, ...]:
        """The jobs that read anything of this one."""
        return tuple(self._children_by_key.get(job.key, ()))

    def readers(self, job: Job) -> tuple[Job, ...]:
        """The jobs that read the trained weights of this one."""
        return tuple(
            child
            for child in self.children(job)
            if any(parent.key == job.key for parent in child.reads_weights)
        )

    @cached_property
    def _children_by_key(self) -> dict[str, list[Job]]:
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

    def add(
        self,
        sparsity: Decimal,
        mask: Job,
        training: Job,
        variants: tuple[Variant, Variant] = (PLAIN, PLAIN),
    ) -> None:
        """Add a round; the rounds come in the order of their sparsity."""
        self.masks[sparsity], self.trainings[sparsity] = mask, training
        self.variants[sparsity] = variants

    def under_ticket(self) -> "Search":
        """A copy of this search that says that it starts from a ticket."""
        variants = {
            sparsity: (until_mask.then(FROM_TICKET), variant.then(FROM_TICKET))
            for sparsity, (until_mask, variant) in self.variants.items()
        }
        return replace(self, variants=variants)


# --- tests of tickets ----------------------------------------------------------


def evaluate(
    subject: Subject, mask: Job, seeds: Iterable[int], init: str = "pretrained"
) -> list[Job]:
    """The trainings of one fixed ticket, one a seed."""
    what = f"ticket at {as_mask(mask.spec).prune.sparsity:f}" + (
        f", {init}" if init != "pretrained" else ""
    )
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
        sparsities: the sparsities of the masks.
        seeds: the seeds of the search and of the training that follows, which share theirs.
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
            mask = _mask_of(source, found, seed, sparsity)
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


def _mask_of(
    source: str, found: Mapping[int, Mapping[Decimal, Job]], seed: int, sparsity: Decimal
) -> Job:
    """The mask of a source, where it has one."""
    mask = found.get(seed, {}).get(sparsity)
    if mask is None:
        there = ", ".join(f"{each:f}" for each in found.get(seed, {})) or "none"
        raise SpecError(
            f"expected a ticket of {source!r} at {sparsity:f} with seed {seed}, got {there}. Use "
            "sparsities and seeds of the search."
        )
    return mask
