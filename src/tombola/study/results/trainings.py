"""The trainings of one network, one for each seed: their scores, and the verdict on them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tombola.lab.store.artifacts import read_mask, read_predictions
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.study.results.result_file import ScoresRecord
from tombola.study.verdicts.paired_t import paired_t
from tombola.study.verdicts.single_run import single_run_verdict
from tombola.study.verdicts.verdict import (
    DENSE_HAS_NOT_LEARNED,
    FIXED_TICKET,
    SEARCH,
    THIS_RUN,
    Verdict,
    not_learned,
)
from tombola.tasks.metrics import resolution
from tombola.tasks.task import Task
from tombola.ticket.mask import jaccard

__all__ = ["Trainings", "mean_jaccard", "score_summary", "verdict_on", "verdict_on_results"]


@dataclass(frozen=True)
class Trainings:
    """The trainings of one network, one for each seed, some of which may have diverged."""

    jobs: Sequence[Job]
    results: Sequence[Result | None]
    """None where a training can't be done, because one that it continues has diverged."""

    @classmethod
    def of(cls, store: Store, jobs: Sequence[Job]) -> "Trainings":
        """The results of some jobs, from a store."""
        return cls(jobs, [store.read(job.key) for job in jobs])

    @property
    def done(self) -> list[Result]:
        """The results that are there, diverged or not."""
        return [one for one in self.results if one is not None]

    @property
    def diverged(self) -> list[str]:
        """A description of each training that has no score."""
        lost = []
        for job, one in zip(self.jobs, self.results, strict=True):
            if one is None:
                lost.append(f"{job.label}, can't be done after a training that diverged")
            elif one.facts["score"] is None:
                lost.append(f"{job.label}, {one.diverged or 'diverged'}")
        return lost

    def summary(self) -> ScoresRecord:
        """Scores, mean and so on; no mean where one diverged, which its absence would hide."""
        if not self.diverged:
            return score_summary(self.done)
        return {
            "values": [None if one is None else one.facts["score"] for one in self.results],
            "mean": None,
            "std": None,
            "keys": [job.key for job in self.jobs],
            "diverged": len(self.diverged),
        }


def score_summary(runs: Sequence[Result]) -> ScoresRecord:
    """Scores in points, mean and standard deviation (null for one), and the trainings' keys.

    The means of a task's other metrics, if it has any, stand under `more`.
    """
    values = [run.facts["score"] for run in runs]
    summary: ScoresRecord = {
        "values": values,
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "keys": [run.key for run in runs],
    }
    more: dict[str, float | None] = {
        name: statistics.fmean(run.facts["more"][name] for run in runs)
        for name in runs[0].facts.get("more", {})
    }
    if more:
        summary["more"] = more
    return summary


def mean_jaccard(store: Store, ours: Sequence[Job], theirs: Sequence[Job]) -> float:
    """Mean Jaccard index of the pruned weights of masks, pair by pair."""
    return statistics.fmean(
        jaccard(read_mask(store, a.key), read_mask(store, b.key))
        for a, b in zip(ours, theirs, strict=True)
    )


def verdict_on(
    store: Store, task: Task, dense: Trainings, ticket: Trainings, sparsity: Decimal, *, fixed: bool
) -> Verdict:
    """Whether a ticket matches dense; undecided, with the run named, where one diverged.

    Args:
        store: the store with the results.
        task: the task, with its margin.
        dense: one training for each seed.
        ticket: trainings of the same seeds.
        sparsity: the sparsity of the ticket.
        fixed: whether it is one ticket under all seeds, and not a search for each.
    """
    if not (reasons := [*dense.diverged, *ticket.diverged]):
        return verdict_on_results(store, task, dense.done, ticket.done, sparsity, fixed=fixed)
    estimand = FIXED_TICKET if fixed else SEARCH
    return Verdict(
        status="undecided",
        sparsity=sparsity,
        difference=None,
        interval=None,
        margin=task.margin,
        level=0.90,
        estimand=estimand if len(dense.jobs) > 1 else THIS_RUN,
        seeds=len(dense.jobs),
        reason=reasons[0],
        detail="a lower learning rate may help",
    )


def verdict_on_results(
    store: Store,
    task: Task,
    dense: Sequence[Result],
    ticket: Sequence[Result],
    sparsity: Decimal,
    *,
    fixed: bool,
) -> Verdict:
    """The verdict on trainings with a score: over seeds, or over the examples of a single run."""
    scores = [[run.facts["score"] for run in runs] for runs in (dense, ticket)]
    if len(dense) > 1:
        found = paired_t(
            *scores,
            margin=task.margin,
            sparsity=sparsity,
            resolution=resolution(task.metric, read_predictions(store, dense[0].key)),
            estimand=FIXED_TICKET if fixed else SEARCH,
        )
    else:
        keys = dense[0].key, ticket[0].key
        found = single_run_verdict(
            store, keys, metric=task.metric, margin=task.margin, sparsity=sparsity
        )
    detail = not_learned(scores[0], dense[0].facts["trivial"], task.margin)
    return found.without_premise(DENSE_HAS_NOT_LEARNED, detail) if detail else found
