"""What names a job besides its parents: one type for each kind of job, and its JSON in a store.

The JSON is part of every key, so it never changes: what is odd in it is known here and nowhere
else. Knobs at their default are left out.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from tombola.base.keys import changed_knobs
from tombola.base.specs import WHOLE_COURSE, CourseSpec, PruneSpec, TrainSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS, UNSTRUCTURED
from tombola.plan.identity import DataIdentity, Json, NetworkIdentity, Stored

__all__ = [
    "ENCODER",
    "MAGNITUDE",
    "PRETRAINED",
    "VERSIONS",
    "GivenMask",
    "InterpolateJobSpec",
    "JobSpec",
    "PruneJobSpec",
    "ScoreJobSpec",
    "TrainJobSpec",
    "as_mask",
    "as_training",
    "read_spec",
    "train_revisions",
]

VERSIONS = {"train": 1, "score": 1, "prune": 1, "interpolate": 1}
"""Kind of job -> its version; incremented when the same spec comes to mean something else."""

ENCODER, PRETRAINED, MAGNITUDE = "encoder", "pretrained", "magnitude"
GIVEN, UNITS = "given", "units"
RANDOM, PERMUTED = "random", "permuted"
"""Scores of masks that are drawn: by themselves or like another, or by moving another's lines."""


def train_revisions(recipe: TrainSpec, init: str = PRETRAINED) -> int:
    """How many knobs of a training have come to mean something else since the first version."""
    revised = (
        recipe.test_limit > 0,  # a seeded choice; once the first rows
        init == "shuffle-layers",  # a permutation; once blocks were lost on a CPU
        init == "shuffle-layers",  # of at least two blocks; once it could leave all in place
    )
    return sum(revised)


class _JobSpec:
    """A kind of job that has had one version, and does no steps; others say so."""

    kind: ClassVar[str]

    def version(self, roles: Container[str]) -> int:
        """The version of the job, by the roles of its parents."""
        return VERSIONS[self.kind]

    def steps(self, examples: int) -> int:
        """Optimizer steps that are done on this many examples, or points of a line."""
        return 0


@dataclass(frozen=True, kw_only=True)
class TrainJobSpec(_JobSpec):
    """A training of a network on a task."""

    kind = "train"

    network: NetworkIdentity
    data: str
    """Fingerprint of the rows."""
    task: list[Any]
    """`Task.identity`."""
    recipe: TrainSpec
    """Its seeds included."""
    init: str = PRETRAINED
    """What the weights in the scope start from: a name in INIT_NAMES."""
    course: CourseSpec = WHOLE_COURSE
    """Which part of the training is done."""
    scope: str = ENCODER
    """Scope of the mask and of init; the encoder where there are neither."""

    def to_json(self) -> Json:
        """The fields that name it, as they stand in a store."""
        course = changed_knobs(self.course)
        return {
            **self.network.to_json(),
            "data": self.data,
            "task": self.task,
            "train": changed_knobs(self.recipe),
            **({} if self.init == PRETRAINED else {"init": self.init}),
            **({"course": course} if course else {}),
            **_scope(self.scope),
        }

    @classmethod
    def from_json(cls, stored: Stored) -> "TrainJobSpec":
        """What `to_json` wrote."""
        return cls(
            network=NetworkIdentity.from_json(stored),
            data=stored["data"],
            task=stored["task"],
            recipe=TrainSpec(**stored["train"]),
            init=stored.get("init", PRETRAINED),
            course=CourseSpec(**stored.get("course", {})),
            scope=stored.get("scope", ENCODER),
        )

    def version(self, roles: Container[str]) -> int:
        """The version of the job; it goes by no parent."""
        return VERSIONS[self.kind] + train_revisions(self.recipe, self.init)

    def steps(self, examples: int) -> int:
        """Optimizer steps that are done of a training on this many examples."""
        return (self.course.last or self.recipe.steps(examples)) - self.course.first


@dataclass(frozen=True, kw_only=True)
class ScoreJobSpec(_JobSpec):
    """The score of a trained network on a split."""

    kind = "score"

    split: str
    rows: str
    """Fingerprint of that split's rows."""

    def to_json(self) -> Json:
        """The fields, as they stand in a store."""
        return {"split": self.split, "rows": self.rows}

    @classmethod
    def from_json(cls, stored: Stored) -> "ScoreJobSpec":
        """What `to_json` wrote."""
        return cls(split=stored["split"], rows=stored["rows"])


@dataclass(frozen=True, kw_only=True)
class PruneJobSpec(_JobSpec):
    """A mask, by the scores of weights."""

    kind = "prune"

    prune: PruneSpec
    """How much is removed, and in what units."""
    scores: str = MAGNITUDE
    """What weights are ranked by: magnitude, random, permuted, or the name of a finder."""
    heads: int = 0
    """Attention heads of a block, where the structure goes by them; 0 if unknown."""
    transposed: bool = False
    """Whether weights are stored as (inputs, outputs), where the mask goes by either."""
    network: NetworkIdentity | None = None
    """The network whose weights are ranked; None where they are those of a training."""
    weights_from: str = ""
    """The network that these weights are of: pretrained, or random-init; empty where they are those
    of a training, or where no weights are looked at."""
    seed: int = 0
    """Seed of whatever is drawn at random."""
    scope: str = ENCODER
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """The finder's own knobs that are not at their default, as JSON has them."""
    data: DataIdentity | None = None
    """What the finder looks at besides weights."""
    trains: bool = False
    """Whether the finder trains the network."""

    def to_json(self) -> Json:
        """The fields that name it, as they stand in a store."""
        network = self.network
        return {
            **self._ranking(),
            "sparsity": f"{self.prune.sparsity:f}",
            **({"heads": self.heads} if self.heads else {}),
            **({"transposed": True} if self.transposed else {}),
            **(network.backbone if network else {}),
            **({"of": self.weights_from} if self.weights_from else {}),
            **(network.configuration if network else {}),
            **({"seed": self.seed} if self.seed else {}),
            **_scope(self.scope),
            **({"knobs": dict(self.knobs)} if self.knobs else {}),
            **(self.data.to_json() if self.data else {}),
            **({"trains": True} if self.trains else {}),
        }

    def _ranking(self) -> Json:
        """Scores and structure; one pair of them has a name of its own."""
        structure = self.prune.structure
        if (self.scores, structure) == (MAGNITUDE, HEADS_AND_NEURONS):
            return {"scores": UNITS}
        return {
            "scores": self.scores,
            **({} if structure == UNSTRUCTURED else {"structure": structure}),
        }

    @classmethod
    def from_json(cls, stored: Stored) -> "PruneJobSpec":
        """What `to_json` wrote."""
        units = stored["scores"] == UNITS
        structure = HEADS_AND_NEURONS if units else stored.get("structure", UNSTRUCTURED)
        return cls(
            prune=PruneSpec(sparsity=stored["sparsity"], structure=structure),
            scores=MAGNITUDE if units else stored["scores"],
            heads=stored.get("heads", 0),
            transposed=stored.get("transposed", False),
            network=NetworkIdentity.from_json(stored) if "model" in stored else None,
            weights_from=stored.get("of", ""),
            seed=stored.get("seed", 0),
            scope=stored.get("scope", ENCODER),
            knobs=stored.get("knobs", {}),
            data=DataIdentity.from_json(stored) if "data" in stored else None,
            trains=stored.get("trains", False),
        )

    def version(self, roles: Container[str]) -> int:
        """The version of the job, by the roles of its parents."""
        accumulates = self.data is not None and self.data.recipe.accumulation > 1
        revised = (
            "like" in roles,  # two tickets once had one permutation
            accumulates and self.scores == "task-agnostic",  # once weighed by masked tokens alone
        )
        return VERSIONS[self.kind] + sum(revised)

    def steps(self, examples: int) -> int:
        """Optimizer steps, where the finder trains the network."""
        return self.data.recipe.steps(examples) if self.trains and self.data else 0


@dataclass(frozen=True, kw_only=True)
class GivenMask(_JobSpec):
    """A mask that exists already, by its digest."""

    kind = "prune"

    prune: PruneSpec
    digest: str
    network: NetworkIdentity
    scope: str = ENCODER

    def to_json(self) -> Json:
        """The fields that name it, as they stand in a store."""
        return {
            "of": GIVEN,
            "digest": self.digest,
            **self.network.backbone,
            "sparsity": f"{self.prune.sparsity:f}",
            **_scope(self.scope),
        }

    @classmethod
    def from_json(cls, stored: Stored) -> "GivenMask":
        """What `to_json` wrote."""
        return cls(
            prune=PruneSpec(sparsity=stored["sparsity"]),
            digest=stored["digest"],
            network=NetworkIdentity.from_json(stored),
            scope=stored.get("scope", ENCODER),
        )


@dataclass(frozen=True, kw_only=True)
class InterpolateJobSpec(_JobSpec):
    """Score and loss of networks on the straight line between two trained ones."""

    kind = "interpolate"

    points: int
    """Networks on the line, both ends included, equally far apart."""

    def to_json(self) -> Json:
        """The fields, as they stand in a store."""
        return {"points": self.points}

    @classmethod
    def from_json(cls, stored: Stored) -> "InterpolateJobSpec":
        """What `to_json` wrote."""
        return cls(points=stored["points"])

    def steps(self, examples: int) -> int:
        """The points."""
        return self.points


JobSpec: TypeAlias = TrainJobSpec | ScoreJobSpec | PruneJobSpec | GivenMask | InterpolateJobSpec


def read_spec(kind: str, stored: Stored) -> JobSpec:
    """The typed spec of a job, from its JSON in a store."""
    if kind == "prune" and stored.get("of") == GIVEN:
        return GivenMask.from_json(stored)
    kinds = (TrainJobSpec, ScoreJobSpec, PruneJobSpec, InterpolateJobSpec)
    return next(each for each in kinds if each.kind == kind).from_json(stored)


def as_training(spec: JobSpec) -> TrainJobSpec:
    """The spec of a job that is known to be a training."""
    assert isinstance(spec, TrainJobSpec), spec.kind
    return spec


def as_mask(spec: JobSpec) -> PruneJobSpec | GivenMask:
    """The spec of a job that is known to be a mask."""
    assert isinstance(spec, PruneJobSpec | GivenMask), spec.kind
    return spec


def _scope(scope: str) -> Json:
    return {} if scope == ENCODER else {"scope": scope}
