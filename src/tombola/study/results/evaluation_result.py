"""The result of evaluating one ticket, from its trainings in a store."""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from tombola.lab.store.numerics import refuse_mixed
from tombola.lab.store.result_store import Store
from tombola.plan.search import Evaluation
from tombola.plan.subject import Subject
from tombola.study.results.notebook import NotebookResult
from tombola.study.results.notes import counts_by_split, learning_notes
from tombola.study.results.result_file import ScoresRecord, VerdictRecord
from tombola.study.results.trainings import Trainings, verdict_on
from tombola.study.table.margins import Margin

__all__ = ["EvaluationResult", "build_evaluation_result"]


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationResult(NotebookResult):
    """How one fixed ticket does on a task, with fresh seeds."""

    task: str
    model: str
    metric: str
    split: str
    init: str
    sparsity: Decimal
    dense: ScoresRecord
    scores: ScoresRecord
    """values, mean, std, keys of the masked network."""
    trivial: float
    """The best score without learning anything from the texts."""
    verdict: VerdictRecord
    margin: dict[str, Any]
    """points, and their origin: named, ticket, or rule with the dense and trivial score on dev."""
    ticket: Path | None
    """Its folder; None for one that is in memory."""
    seconds: float
    left_out: dict[str, int]
    """Name with stars -> weights of the blocks, with two axes or more, outside of the scope."""
    notes: list[str]
    """What a reader must know to read the scores correctly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    output: Path
    key: str

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them; `ticket` is empty for one that is in memory."""
        fields = super().to_json()
        return {**fields, "ticket": fields["ticket"] or ""}


def build_evaluation_result(
    store: Store,
    subject: Subject,
    jobs: Evaluation,
    *,
    margin: Margin,
    init: str,
    sparsity: Decimal,
    ticket: Path | None,
    output: Path,
    key: str,
) -> EvaluationResult:
    """The result of an evaluation whose jobs are all done.

    Args:
        store: the store with the results of the jobs.
        init: what the kept weights started from.
        ticket: its folder, if it has one.

    Raises: SpecError, if its trainings have different numerics.
    """
    task = replace(subject.task, margin=margin.points, by_rule=False)
    dense, masked = Trainings.of(store, jobs.dense), Trainings.of(store, jobs.masked)
    refuse_mixed([one.numerics for one in (*dense.done, *masked.done)])
    facts = dense.done[0].facts
    counts = counts_by_split(subject, facts)
    verdict = verdict_on(store, task, dense, masked, sparsity, fixed=True)
    return EvaluationResult(
        task=task.name,
        model=subject.model,
        metric=task.metric,
        split=task.test_split,
        init=init,
        sparsity=sparsity,
        dense=dense.summary(),
        scores=masked.summary(),
        trivial=facts["trivial"],
        verdict=cast("VerdictRecord", verdict.to_json()),
        margin=margin.to_json(),
        ticket=ticket,
        seconds=float(sum(run.seconds for run in (*dense.done, *masked.done))),
        left_out=dict(subject.left_out),
        notes=[*subject.notes, *margin.notes, *learning_notes(task, dense, counts)],
        counts=counts,
        output=output,
        key=key,
    )
