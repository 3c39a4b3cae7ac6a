"""The result of evaluating one ticket, from its trainings in a store."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tombola.lab.store.numerics import refuse_mixed
from tombola.lab.store.result_store import Store
from tombola.plan.search import Evaluation
from tombola.plan.subject import Subject
from tombola.study.results.notebook import NotebookResult
from tombola.study.results.notes import counts_by_split, learning_notes
from tombola.study.results.trainings import Trainings, verdict_on
from tombola.study.table.margins import Margin

__all__ = ["Evaluated", "evaluated_in"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluated(NotebookResult):
    """How one fixed ticket does on a task, with fresh seeds."""

    task: str
    model: str
    metric: str
    split: str
    init: str
    sparsity: str
    dense: dict[str, Any]
    scores: dict[str, Any]
    """values, mean, std, keys of the masked network."""
    trivial: float
    """The best score without learning anything from the texts."""
    verdict: dict[str, Any]
    margin: dict[str, Any]
    """points, and their origin: named, ticket, or rule with the dense and trivial score on dev."""
    ticket: str
    seconds: float
    left_out: dict[str, int]
    """Name with stars -> weights of the blocks, with two axes or more, outside of the scope."""
    notes: list[str]
    """What a reader must know to read the scores correctly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    output: str
    key: str


def evaluated_in(
    store: Store,
    subject: Subject,
    jobs: Evaluation,
    *,
    margin: Margin,
    init: str,
    sparsity: Decimal,
    ticket: str,
    output: str,
    key: str,
) -> Evaluated:
    """The result of an evaluation whose jobs are all done.

    Args:
        store: the store with the results of the jobs.
        init: what the kept weights started from.
        ticket: its folder.

    Raises: SpecError, if its trainings have different numerics.
    """
    task = replace(subject.task, margin=margin.points, by_rule=False)
    dense, masked = Trainings.of(store, jobs.dense), Trainings.of(store, jobs.masked)
    refuse_mixed([one.numerics for one in (*dense.done, *masked.done)])
    facts = dense.done[0].facts
    counts = counts_by_split(subject, facts)
    return Evaluated(
        task=task.name,
        model=subject.model,
        metric=task.metric,
        split=task.test_split,
        init=init,
        sparsity=f"{sparsity:f}",
        dense=dense.summary(),
        scores=masked.summary(),
        trivial=facts["trivial"],
        verdict=verdict_on(store, task, dense, masked, sparsity, fixed=True).to_json(),
        margin=margin.to_json(),
        ticket=ticket,
        seconds=float(sum(run.seconds for run in (*dense.done, *masked.done))),
        left_out=dict(subject.left_out),
        notes=[*subject.notes, *margin.notes, *learning_notes(task, dense, counts)],
        counts=counts,
        output=output,
        key=key,
    )
