"""What is to be done, as data: each job is named by what makes it; no torch."""

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from tombola.base.errors import SpecError
from tombola.base.keys import exact, key, knobs
from tombola.base.registry import unknown
from tombola.base.specs import INITS, CourseSpec, TrainSpec
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.task import Task

__all__ = [
    "READS_WEIGHTS",
    "VERSIONS",
    "Job",
    "Named",
    "Subject",
    "dense",
    "given",
    "interpolate",
    "job_version",
    "one_shot",
    "prune",
    "reordered",
    "scoring",
    "train",
]

VERSIONS = {"train": 1, "score": 1, "prune": 1, "interpolate": 1}
"""Kind of job -> its version; raised when the same spec comes to mean something else."""

READS_WEIGHTS = ("trained", "start", "head", "body", "left", "right")
"""Roles of the parents whose trained weights a job reads."""


def job_version(kind: str, spec: Mapping[str, Any], roles: Container[str] = ()) -> int:
    """Version of a job: that of its kind, and one more for each knob that has come to mean
    something else.

    Args:
        kind: of job.
        spec: of it.
        roles: of its parents.
    """
    revised = (
        kind == "train" and "test_limit" in spec["train"],  # a seeded choice; once the first rows
        spec.get("init") == "shuffle-layers",  # a permutation; once blocks were lost on a CPU
        "like" in roles,  # the mask is in the stream; once two tickets had one permutation
    )
    return VERSIONS[kind] + sum(map(bool, revised))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, a task and its data, as far as the names of results need them."""

    model: str
    """Name, folder or hub id: where the network is; never in a key."""
    fingerprint: str
    """Of the pre-trained backbone."""
    fittings: str = ""
    """Digest of what else decides the bits: configuration, tokenizer, pre-trained pooler and head.
    Empty for an embedded model, which comes with the package as it is."""
    task: Task
    recipe: TrainSpec
    """Its seed is replaced by that of each training."""
    data: str
    """Fingerprint of the rows."""
    examples: int
    """Training examples: rows of the split, or windows or blocks of them."""
    folder: str | None
    """Where the data are, None for the package's own; never in a key."""
    scope: str = "encoder"
    matrices: str = ""
    """Digest of the names in the scope that belong to no linear layer, which earlier scopes didn't
    hold; empty without any."""
    heads: int = 0
    """Attention heads of a block; 0 for an embedded model, or where the configuration has none."""
    refused: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Scorer or initialisation -> why this network's scope can't have it; never in a key."""
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Name with stars -> weights of the blocks outside of the scope; never in a key."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of network and data; never in a key."""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    """Split -> what was counted of it; never in a key."""
    dev: str = ""
    """Fingerprint of the dev split's rows, where something goes by a score on them; empty if
    nothing does, or there are none with labels."""

    @property
    def network(self) -> dict[str, str]:
        """What names the network in a result."""
        return {**self.weights, **({"fittings": self.fittings} if self.fittings else {})}

    @property
    def weights(self) -> dict[str, str]:
        """What names its pre-trained backbone and what may be pruned of that."""
        named = {"model": self.fingerprint, "matrices": self.matrices}
        return {what: digest for what, digest in named.items() if digest}

    def check(self, what: str) -> None:
        """Refuse a scorer or an initialisation that the network can't have.

        Raises: SpecError, with the reason.
        """
        if what in self.refused:
            remedy = " Leave the control small-dense out." if what == "units" else ""
            raise SpecError(f"{self.refused[what]}{remedy}")

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        return self.recipe.steps(self.examples)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A job by what made it, as plain data; its parents are keys."""

    key: str
    """`specs.key` of kind, job_version, spec and parents."""
    kind: str
    job_version: int
    """Of the kind; raised when the same spec comes to mean something else."""
    spec: dict[str, Any]
    parents: dict[str, str]
    """Role -> key."""
    label: str
    """For people."""

    def named(self) -> dict[str, Any]:
        """These fields, for something else that has them."""
        return {field.name: getattr(self, field.name) for field in fields(Named)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Something to be done once: its key is the same wherever it is asked for."""

    kind: str
    """train, score, prune or interpolate."""
    spec: Mapping[str, Any]
    """As JSON: all that names it besides its parents; knobs only where not at their default."""
    parents: Mapping[str, "Job"]
    """Role -> the job whose result it reads."""
    subject: Subject
    """Where network and data are."""
    label: str
    """For people; not in the key."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        # here and not on demand, because a chain of parents may be longer than the stack is deep
        parents = {role: parent.key for role, parent in self.parents.items()}
        version = job_version(self.kind, self.spec, self.parents)
        object.__setattr__(self, "key", key(self.kind, version, **self.spec, parents=parents))

    def named(self) -> dict[str, Any]:
        """Its description as plain data: the fields of `Named`."""
        return {
            "key": self.key,
            "kind": self.kind,
            "job_version": job_version(self.kind, self.spec, self.parents),
            "spec": json.loads(json.dumps(self.spec)),
            "parents": {role: parent.key for role, parent in self.parents.items()},
            "label": self.label,
        }

    @property
    def steps(self) -> int:
        """Optimizer steps that it does, or points of a line; 0 for others."""
        if self.kind != "train":
            return int(self.spec.get("points", 0))
        course = CourseSpec(**self.spec.get("course", {}))
        whole = TrainSpec(**self.spec["train"]).steps(self.subject.examples)
        return (course.last or whole) - course.first

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
    """The training of a network on a task.

    Args:
        subject: which network, on what, and how.
        seed: of head, data order and dropout.
        what: which network it is, for people.
        mask: the pruning that says which weights live; None for the dense network.
        init: what the living weights start from.
        start: the training whose trained weights, head included, it starts from instead.
        head: the training whose trained head it starts from.
        body: the training, of whatever task, whose trained weights it starts from, head excluded.
        course: which part of the training is done, if not all of it.

    Raises: SpecError, if mask or body are of another network or scope, or there is no such init.
    """
    if init not in INITS:
        raise unknown("initialisation", init, INITS)
    subject.check(init)
    spec: dict[str, Any] = {
        **subject.network,
        "data": subject.data,
        "task": subject.task.identity,
        "train": knobs(replace(subject.recipe, seed=seed)),
    }
    if init != "pretrained":
        spec["init"] = init
    if course is not None and (changed := knobs(course)):
        spec["course"] = changed
    for other in (mask, body):
        if other is not None:
            _check_fits(subject, other)
    if mask is not None or init != "pretrained":
        spec |= _scope(subject)
    parents = {"mask": mask, "start": start, "head": head, "body": body}
    return Job(
        kind="train",
        spec=spec,
        parents={role: parent for role, parent in parents.items() if parent is not None},
        subject=subject,
        label=f"{subject.task.name}, seed {seed}, {what}",
    )


def dense(subject: Subject, seed: int) -> Job:
    """The training of the whole network."""
    return train(subject, seed, "dense")


def reordered(training: Job, order_seed: int) -> Job:
    """The same training, head and mask included, with data order and dropout of another seed."""
    recipe = replace(TrainSpec(**training.spec["train"]), order_seed=order_seed)
    return Job(
        kind="train",
        spec={**training.spec, "train": knobs(recipe)},
        parents=training.parents,
        subject=training.subject,
        label=f"{training.label}, order {order_seed}",
    )


def scoring(training: Job) -> Job:
    """The score of a trained network on the dev split, which chooses and never tests."""
    return Job(
        kind="score",
        spec={"split": "dev", "rows": training.subject.dev},
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
        kind="interpolate",
        spec={"points": points},
        parents={"left": left, "right": right},
        subject=left.subject,
        label=f"line from {left.label} to {right.label.rpartition(', ')[2]}",
    )


def prune(
    subject: Subject,
    sparsity: Decimal,
    what: str,
    *,
    scores: str = "magnitude",
    of: str = "pretrained",
    seed: int = 0,
    trained: Job | None = None,
    like: Job | None = None,
) -> Job:
    """A mask.

    Args:
        subject: which network, and which of its weights may die.
        sparsity: fraction of the scope that is dead afterwards.
        what: which mask it is, for people.
        scores: by what weights are ranked: magnitude, random or units.
        of: whose weights they are: of the pretrained network or of one of random-init.
        seed: of whatever draws.
        trained: the training whose weights they are instead; what is dead in it stays dead.
        like: the mask that has as many dead in each matrix, which are drawn by chance.

    Raises: SpecError, if the network's weights can't be ranked in this way.
    """
    subject.check(scores)
    spec: dict[str, Any] = {"scores": scores, "sparsity": f"{exact(sparsity):f}"}
    if scores == "units" and subject.heads:
        spec["heads"] = subject.heads
    if trained is None:
        spec |= subject.weights
    if trained is None and like is None:
        spec["of"] = of
        if (of, subject.scope) != ("pretrained", "encoder"):
            spec |= subject.network
    if seed:
        spec["seed"] = seed
    parents = {"trained": trained, "like": like}
    return Job(
        kind="prune",
        spec=spec | _scope(subject),
        parents={role: parent for role, parent in parents.items() if parent is not None},
        subject=subject,
        label=f"{what} at {sparsity:f}",
    )


def one_shot(subject: Subject, sparsity: Decimal) -> Job:
    """The mask of the largest pre-trained weights (OMP of Chen et al. 2020)."""
    return prune(subject, sparsity, "one-shot mask")


def given(subject: Subject, digest: str, sparsity: Decimal) -> Job:
    """A mask that is there already, by its digest."""
    made_of = {"of": "given", "digest": digest, **subject.weights}
    return Job(
        kind="prune",
        spec={**made_of, "sparsity": f"{exact(sparsity):f}", **_scope(subject)},
        parents={},
        subject=subject,
        label=f"mask {digest[:12]} at {sparsity:f}",
    )


def _scope(subject: Subject) -> dict[str, str]:
    return {} if subject.scope == "encoder" else {"scope": subject.scope}


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
            f"expected {what} of the scope {subject.scope!r}, got {that} of {theirs.scope!r}. "
            f"Take one scope throughout."
        )
