"""What is to be done, as data: each job is named by what makes it; no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from tombola.base.errors import SpecError
from tombola.base.keys import key
from tombola.base.registry import unknown
from tombola.base.specs import INIT_NAMES, CourseSpec, PruneSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS, UNSTRUCTURED
from tombola.plan.identity import DataIdentity
from tombola.plan.job_spec import (
    ENCODER,
    PRETRAINED,
    GivenMask,
    InterpolateJobSpec,
    JobSpec,
    PruneJobSpec,
    ScoreJobSpec,
    TrainJobSpec,
    as_training,
    read_spec,
)
from tombola.plan.subject import Subject

__all__ = [
    "READS_WEIGHTS",
    "Job",
    "Named",
    "dense",
    "finder_knobs",
    "given",
    "interpolate",
    "one_shot",
    "prune",
    "pruned_already",
    "reordered",
    "scoring",
    "train",
]

READS_WEIGHTS = ("trained", "start", "head", "body", "left", "right", "teacher")
"""Roles of the parents whose trained weights a job reads."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A job by what made it, as plain data; its parents are keys."""

    key: str
    """`base.keys.key` of kind, job_version, spec and parents."""
    kind: str
    job_version: int
    """Version of the kind of job; incremented when the same spec comes to mean something else."""
    spec: dict[str, Any]
    parents: dict[str, str]
    """Role -> key."""
    label: str
    """A label for people to read."""

    @cached_property
    def job_spec(self) -> JobSpec:
        """The spec, read once."""
        return read_spec(self.kind, self.spec)

    def named(self) -> dict[str, Any]:
        """These fields, for something else that has them."""
        return {field.name: getattr(self, field.name) for field in fields(Named)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Something to be done once: its key is the same wherever it is asked for."""

    spec: JobSpec
    """All that names it besides its parents."""
    parents: Mapping[str, "Job"]
    """Role -> the job whose result it reads."""
    subject: Subject
    """Where network and data are."""
    label: str
    """A label for people to read; not in the key."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        # here and not on demand, because a chain of parents may be longer than the stack is deep
        parents = {role: parent.key for role, parent in self.parents.items()}
        made_of = {**self.spec.to_json(), "parents": parents}
        object.__setattr__(self, "key", key(self.kind, self.version, **made_of))

    @property
    def kind(self) -> str:
        """What is done: train, score, prune or interpolate."""
        return self.spec.kind

    @property
    def version(self) -> int:
        """Version of the kind of job; incremented when the same spec comes to mean something
        else."""
        return self.spec.version(self.parents)

    def named(self) -> dict[str, Any]:
        """Its description as plain data: the fields of `Named`."""
        return {
            "key": self.key,
            "kind": self.kind,
            "job_version": self.version,
            "spec": json.loads(json.dumps(self.spec.to_json())),
            "parents": {role: parent.key for role, parent in self.parents.items()},
            "label": self.label,
        }

    @property
    def steps(self) -> int:
        """Optimizer steps that it does, or points of a line; 0 for others."""
        return self.spec.steps(self.subject.examples)

    @property
    def follows_training(self) -> bool:
        """Whether it is a mask that depends on a training, its finder's own included."""
        parents = self.parents.keys() - {"base"}  # a ticket that was given
        return isinstance(self.spec, PruneJobSpec) and bool(parents or self.spec.trains)

    @property
    def reads_weights(self) -> tuple["Job", ...]:
        """The parents whose trained weights it reads, not their scores or masks only."""
        return tuple(parent for role, parent in self.parents.items() if role in READS_WEIGHTS)


def train(
    subject: Subject,
    seed: int,
    what: str,
    *,
    mask: Job | None = None,
    init: str = "pretrained",
    start: Job | None = None,
    head: Job | None = None,
    body: Job | None = None,
    course: CourseSpec | None = None,
) -> Job:
    """The training of a network on a task; under a mask the dense network of the same seed is its
    teacher, if the recipe has one.

    Args:
        subject: which network, on what, and how.
        seed: the seed of head, data order and dropout.
        what: which network it is, for people.
        mask: the pruning that says which weights are kept; None for the dense network.
        init: what the kept weights start from.
        start: the training whose trained weights, head included, it starts from instead.
        head: the training whose trained head it starts from.
        body: the training, of whatever task, whose trained weights it starts from, head excluded.
        course: which part of the training is done, if not all of it.

    Raises: SpecError, if mask or body are of another network or scope, or there is no such init.
    """
    if init not in INIT_NAMES:
        raise unknown("initialisation", init, INIT_NAMES)
    subject.check(init)
    for other in (mask, body):
        if other is not None:
            _check_fits(subject, other)
    recipe = replace(subject.recipe, seed=seed)
    spec = TrainJobSpec(
        network=subject.network,
        data=subject.data,
        task=subject.task.identity,
        recipe=recipe if mask is not None else recipe.without_teacher(),
        init=init,
        course=course or CourseSpec(),
        scope=subject.scope if mask is not None or init != PRETRAINED else ENCODER,
    )
    label = f"{subject.task.name}, seed {seed}, {what}"
    return _job(spec, subject, label, mask=mask, start=start, head=head, body=body)


def dense(subject: Subject, seed: int) -> Job:
    """The training of the whole network."""
    return train(subject, seed, "dense")


def reordered(training: Job, order_seed: int) -> Job:
    """A copy of a training, head and mask included, with data order and dropout of another seed."""
    spec = as_training(training.spec)
    return Job(
        spec=replace(spec, recipe=replace(spec.recipe, order_seed=order_seed)),
        parents=training.parents,
        subject=training.subject,
        label=f"{training.label}, order {order_seed}",
    )


def scoring(training: Job) -> Job:
    """The score of a trained network on the dev split, which chooses and never tests."""
    return Job(
        spec=ScoreJobSpec(split="dev", rows=training.subject.dev),
        parents={"trained": training},
        subject=training.subject,
        label=f"{training.label}, on dev",
    )


def interpolate(left: Job, right: Job, *, points: int) -> Job:
    """The score and the loss of networks on the straight line between two trained ones.

    Args:
        left: the training that the line begins at.
        right: the one that it ends at, of the same network on the same task.
        points: networks on the line, both ends included, equally far apart.
    """
    return Job(
        spec=InterpolateJobSpec(points=points),
        parents={"left": left, "right": right},
        subject=left.subject,
        label=f"line from {left.label} to {right.label.rpartition(', ')[2]}",
    )


def prune(
    subject: Subject,
    spec: PruneSpec,
    what: str,
    *,
    scores: str = "magnitude",
    weights_from: str = PRETRAINED,
    seed: int = 0,
    knobs: Mapping[str, Any] = {},
    data_seed: int | None = None,
    trains: bool = False,
    trained: Job | None = None,
    like: Job | None = None,
) -> Job:
    """A mask.

    Args:
        subject: which network, and which of its weights may be pruned.
        spec: how much of them is pruned, and in what units.
        what: which mask it is, for people.
        scores: what weights are ranked by: magnitude, random, permuted, or the name of a finder.
        weights_from: the network whose weights they are: pretrained or random-init.
        seed: the seed of whatever draws.
        knobs: the finder's knobs that are not at their default.
        data_seed: the seed of the training whose data are looked at; None if none are.
        trains: whether the mask is made by a training of its own.
        trained: the training whose weights they are instead; what is pruned in it stays pruned.
        like: the mask with as many pruned weights in each matrix, which are drawn at random.

    Raises: SpecError, if the network can't be pruned in this way.
    """
    from_start, identity = trained is None and like is None, subject.network
    configured = from_start and (weights_from, subject.scope) != (PRETRAINED, ENCODER)
    data = None if data_seed is None else _data(subject, data_seed, trains=trains)
    if data is None and not configured:
        identity = replace(identity, config_digest="")
    made_of = PruneJobSpec(
        prune=spec,
        scores=scores,
        heads=subject.heads if spec.structure == HEADS_AND_NEURONS else 0,
        transposed=subject.turned(spec.structure, knobs.get("allocation", spec.allocation)),
        network=identity if trained is None else None,
        weights_from=weights_from if from_start else "",
        seed=seed,
        scope=subject.scope,
        knobs=knobs,
        data=data,
        trains=trains,
    )
    return _job(made_of, subject, f"{what} at {spec.sparsity:f}", trained=trained, like=like)


def finder_knobs(mask: Job | None) -> tuple[str, ...]:
    """Knobs of the finder of a mask that are not at their default, as name=value; none without."""
    given = mask.spec.knobs if mask and isinstance(mask.spec, PruneJobSpec) else {}
    return tuple(f"{name}={value}" for name, value in sorted(given.items()))


def _job(spec: JobSpec, subject: Subject, label: str, **parents: Job | None) -> Job:
    """A job whose parents are those of the roles that have one, and the teacher if it has one."""
    parents["teacher"] = _teacher(spec, subject)
    there = {role: parent for role, parent in parents.items() if parent is not None}
    return Job(spec=spec, parents=there, subject=subject, label=label)


def _teacher(spec: JobSpec, subject: Subject) -> Job | None:
    """The dense network of the same seed, where a recipe has it teach others."""
    recipe = spec.recipe if isinstance(spec, TrainJobSpec) else None
    if isinstance(spec, PruneJobSpec) and spec.data:
        recipe = spec.data.recipe
    return dense(subject, recipe.seed) if recipe and recipe.distill else None


def _data(subject: Subject, seed: int, *, trains: bool) -> DataIdentity:
    recipe = replace(subject.recipe, seed=seed)
    if not trains:  # scores are of the loss of labels
        recipe = recipe.without_teacher()
    return DataIdentity(data=subject.data, task=subject.task.identity, recipe=recipe)


def one_shot(subject: Subject, sparsity: Decimal, structure: str = UNSTRUCTURED) -> Job:
    """The mask of the largest pre-trained weights (OMP of Chen et al. 2020), or other units."""
    spec = PruneSpec(sparsity=sparsity, structure=structure)
    return prune(subject, spec, "one-shot mask")


def given(subject: Subject, digest: str, sparsity: Decimal) -> Job:
    """A mask that exists already, by its digest."""
    return Job(
        spec=GivenMask(
            prune=PruneSpec(sparsity=sparsity),
            digest=digest,
            network=subject.network,
            scope=subject.scope,
        ),
        parents={},
        subject=subject,
        label=f"mask {digest[:12]} at {sparsity:f}",
    )


def pruned_already(subject: Subject) -> Job | None:
    """The mask that a search on a subject starts from, if there is one."""
    start = subject.pruned
    return None if start is None else given(subject, start.digest, start.prune.sparsity)


def _check_fits(subject: Subject, other: Job) -> None:
    """Refuse a mask or weights of another network, and a mask of other weights of it."""
    what, that = ("a mask", "one") if other.kind == "prune" else ("weights", "those")
    theirs = other.subject
    if theirs.fingerprint != subject.fingerprint:
        raise SpecError(
            f"expected {what} of the network {subject.fingerprint[:12]} ({subject.model}), got "
            f"{that} of {theirs.fingerprint[:12]} ({theirs.model}). "
            "Train the network it was found in."
        )
    if theirs.scope != subject.scope:
        raise SpecError(
            f"expected {what} of the scope {subject.scope!r}, got {that} of {theirs.scope!r}. Use "
            "one scope throughout."
        )
