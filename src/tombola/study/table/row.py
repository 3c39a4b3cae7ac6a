"""One run of a plan as a table row: what was trained, its score, and that of its dense run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import Any, get_args, get_type_hints

from tombola.base.specs import TrainSpec
from tombola.base.specs.prune import UNSTRUCTURED
from tombola.lab.run.compute import Compute, compute_of
from tombola.lab.store.numerics import numerics_digest
from tombola.lab.store.result import Result
from tombola.plan.cell import AT_RATE, Cell
from tombola.plan.job import finder_knobs
from tombola.plan.job_spec import as_mask, as_training

__all__ = [
    "COLUMNS",
    "MEASURED",
    "OF_SEARCH",
    "STATES",
    "TYPES",
    "Row",
    "digest",
    "minus",
    "row",
]

STATES = ("done", "missing", "diverged")
"""State of a run. One that diverged has no score: its numbers are not finite, or those
of the training that its weights or its mask come from."""
MEASURED = (
    *("state", "score", "trivial", "resolution"),
    *("summed_learning_rate", "seconds", "steps", "forward_tokens", "backward_tokens"),
    "numerics",
)
"""Fields that are known once the run is done; those of its dense run are not among them."""
OF_SEARCH = (
    *("search_forward_tokens", "search_backward_tokens"),
    *("search_seconds", "search_trainings"),
)
"""Fields that are known once the search for the mask is done."""
NO_SEARCH = ("dense", "transfer", "evaluate", "connectivity")
"""Kinds of rows that are no searches; every other one without `of` is called as its finder."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training of a plan; scores, differences and margins are in points."""

    plan: str = ""
    plan_rows: int = 0
    """Rows that the plan's table has, so that a part of it is never taken for the whole."""
    arm: str
    name: str
    """Display name of what was trained: dense, imp, one-shot, transfer, evaluate, or a control."""
    kind: str
    """The name without the learning rate that an arm names; connectivity for the end of a line."""
    of: str = ""
    """The arm that a control is compared with; else empty."""
    finder: str = ""
    """What found the ticket, or that of the ticket that a control is compared with; empty for
    dense."""
    source: str = ""
    """The task that the mask was found on; empty if on none."""
    target: str
    """The task that was trained on."""
    sparsity: Decimal | None = None
    seed: int
    structure: str = ""
    """What the mask prunes as a whole, such as 2:4; empty where it prunes single weights."""
    knobs: tuple[str, ...] = ()
    """Knobs of the finder behind the mask that differ from the default, such as allocation=erk."""
    variant: tuple[str, ...] = ()
    """Options of the search that the mask comes from, as far as they differ from the default."""
    rounds: tuple[Decimal, ...] = ()
    """Sparsity after each round of that search until the mask; empty where it prunes once."""
    rewind_step: int = 0
    """The optimizer step that the search rewound to."""
    budget: float | None = None
    """Length of the search for the mask, in trainings' worth of steps, if it had a budget."""
    init: str = "pretrained"
    learning_rate: float = TrainSpec.learning_rate
    """The peak learning rate."""
    distill: float | None = None
    """Share of the loss that is the distance from the dense network of the same seed, if there is a
    teacher."""
    distill_temperature: float | None = None
    examples: int = 0
    """Training examples of the target."""
    metric: str = ""
    split: str = ""
    """The split that the score comes from."""
    margin: float | None
    """How far below dense still counts as matching on the target; None until dense is scored on
    dev, where the margin follows from that."""
    state: str = "done"
    """One of STATES."""
    score: float | None = None
    dense: float | None = None
    """Score of the dense network of the same seed."""
    difference: float | None = None
    """Score minus dense."""
    trivial: float | None = None
    """The best score without learning anything from the texts."""
    resolution: float | None = None
    """How much one test example can change a score, in points."""
    summed_learning_rate: float | None = None
    jaccard_one_shot: float | None = None
    """Overlap of the pruned weights with those of one-shot pruning at this sparsity."""
    seconds: float | None = None
    """Time of the training and of its scoring."""
    steps: int | None = None
    """Optimizer steps of the training."""
    forward_tokens: int | None = None
    """Tokens that went through networks in the training, without padding."""
    backward_tokens: int | None = None
    """Tokens that went through its backward passes."""
    search_forward_tokens: int | None = None
    """Tokens that went through networks in all that the training depends on, each job once: the
    mask and the search for it, and a teacher. This and the next three are None without a mask, and
    if a part was not counted or is not done."""
    search_backward_tokens: int | None = None
    search_seconds: float | None = None
    """Time of the search, without scoring networks."""
    search_trainings: float | None = None
    """Cost of the search in trainings of the dense network on the target, where a backward pass
    counts as two forward ones."""
    key: str
    dense_key: str
    mask_key: str | None = None
    numerics: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    dense_numerics: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def title(self) -> str:
        """The arm, and the name where an arm has several: of a control, or a learning rate."""
        return f"{self.arm}: {self.name}" if self.of or self.swept else self.arm

    @property
    def swept(self) -> bool:
        """Whether it is a ticket at a learning rate that an arm names, and not at the recipe's."""
        return not self.of and AT_RATE in self.name

    @property
    def moved(self) -> bool:
        """Whether the mask was found on another task."""
        return bool(self.source) and self.source != self.target

    def is_of(self, finder: str) -> bool:
        """Whether its ticket, or that of the ticket that it is compared with, is a finder's."""
        return (self.finder or (self.kind if self.is_ticket else finder)) == finder

    @property
    def is_ticket(self) -> bool:
        """Whether a finder found its mask: no dense network, control, transfer or evaluation."""
        return self.sparsity is not None and not self.of and self.kind not in NO_SEARCH

    @property
    def is_own_ticket(self) -> bool:
        """Whether its mask was found on the task that it is trained on."""
        return self.is_ticket and self.source == self.target

    def to_json(self) -> dict[str, Any]:
        """The fields as a table has them: plain values, numerics as a digest of 12 digits."""
        plain = {name: getattr(self, name) for name in COLUMNS}
        return plain | {
            "sparsity": None if self.sparsity is None else f"{self.sparsity:f}",
            "knobs": " ".join(self.knobs),
            "variant": " ".join(self.variant),
            "rounds": " ".join(f"{each:f}" for each in self.rounds),
            "numerics": _digest_or_none(self.numerics),
            "dense_numerics": _digest_or_none(self.dense_numerics),
        }


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
"""Fields that a table has."""


def _typed(hint: Any) -> tuple[Any, bool]:
    inner = get_args(hint)
    return (inner[0], True) if NoneType in inner else (hint, False)


TYPES = {name: _typed(hint) for name, hint in get_type_hints(Row).items() if name in COLUMNS}
"""Column -> its type without None, and whether it may be None."""


def row(
    plan: str,
    cell: Cell,
    mine: Result | None,
    dense: Result | None,
    *,
    search: Compute | None = None,
    stopped: bool = False,
    plan_rows: int = 0,
) -> Row:
    """The row of a cell.

    Args:
        plan: its name.
        cell: what was trained.
        mine: its result, if it is done.
        dense: the result of the dense network, if that is done.
        search: what was computed before a ticket's training, if that is known.
        stopped: whether it can't be done, because a training that it continues has diverged.
        plan_rows: how many rows the plan has.
    """
    facts = mine.facts if mine else {}
    about_test = {**(dense.facts if dense else {}), **facts}
    score, baseline = _score(mine), _score(dense)
    return replace(
        _planned(cell),
        plan=plan,
        plan_rows=plan_rows,
        state=_state(mine, score, stopped=stopped),
        score=score,
        dense=baseline,
        difference=minus(score, baseline),
        trivial=about_test.get("trivial"),
        resolution=about_test.get("resolution"),
        summed_learning_rate=facts.get("summed_learning_rate"),
        seconds=mine.seconds if mine else None,
        **_computed(compute_of(mine), search, compute_of(dense)),
        numerics=mine.numerics if mine else None,
        dense_numerics=dense.numerics if dense else None,
    )


def _computed(
    mine: Compute | None, search: Compute | None, dense: Compute | None
) -> dict[str, Any]:
    """The columns of what a training and the search before it computed, as far as it is known."""
    found: dict[str, Any] = {}
    if mine is not None:
        found |= mine.to_json()
    if search is not None:
        found |= {
            "search_forward_tokens": search.forward_tokens,
            "search_backward_tokens": search.backward_tokens,
            "search_seconds": search.seconds,
            "search_trainings": search.in_units_of(dense),
        }
    return found


def _planned(cell: Cell) -> Row:
    """The row of a cell as far as its plan determines it."""
    job = cell.training
    subject, made = job.subject, as_training(job.spec)
    return Row(
        arm=cell.arm,
        name=cell.label,
        kind=cell.kind,
        of=cell.compared_arm,
        finder=cell.finder,
        source=cell.source,
        target=cell.target,
        sparsity=cell.sparsity,
        seed=cell.seed,
        structure=_structure(cell),
        knobs=finder_knobs(cell.ticket),
        variant=cell.variant.options,
        rounds=cell.rounds,
        rewind_step=cell.variant.rewind_step,
        budget=cell.budget or None,
        init=made.init,
        learning_rate=made.recipe.learning_rate,
        distill=cell.distill or None,
        distill_temperature=made.recipe.distill_temperature if cell.distill else None,
        examples=min(subject.examples, made.recipe.train_limit or subject.examples),
        metric=subject.task.metric,
        split=subject.task.test_split,
        margin=subject.task.margin,
        state="missing",
        key=cell.key,
        dense_key=cell.dense,
        mask_key=cell.mask,
    )


def _structure(cell: Cell) -> str:
    """What the mask of a cell prunes as a whole; empty for single weights, and without a mask."""
    if cell.ticket is None:
        return ""
    structure = as_mask(cell.ticket.spec).prune.structure
    return "" if structure == UNSTRUCTURED else structure


def _state(mine: Result | None, score: float | None, *, stopped: bool) -> str:
    if mine is None:
        return "diverged" if stopped else "missing"
    return "diverged" if score is None else "done"


def _score(result: Result | None) -> float | None:
    """The score in points; None if there is none, or it is not finite."""
    score = result.facts["score"] if result else None
    return score if score is not None and isfinite(score) else None


def minus(score: float | None, dense: float | None) -> float | None:
    """The difference, where there are both."""
    return None if score is None or dense is None else score - dense


def digest(numerics: Mapping[str, Any]) -> str:
    """Twelve digits that stand for numerics; of a row read from a table, those that it had."""
    if numerics.keys() == {"digest"}:
        return str(numerics["digest"])
    return numerics_digest(numerics)


def _digest_or_none(numerics: Mapping[str, Any] | None) -> str | None:
    return None if numerics is None else digest(numerics)
