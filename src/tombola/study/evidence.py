"""What trainings in a store say together: scores, a verdict, overlaps. Reads, and runs nothing."""

import statistics
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tombola.lab.artefacts import read_mask, read_outcome
from tombola.lab.plan import Job
from tombola.lab.store import Result, Store
from tombola.study.matching import bootstrap, paired_t
from tombola.study.verdict import FIXED_TICKET, SEARCH, Verdict
from tombola.task.metrics import METRICS
from tombola.task.models import stream
from tombola.task.tasks import Task
from tombola.ticket.mask import jaccard

__all__ = ["overlap", "summary", "verdict"]


def summary(runs: Sequence[Result]) -> dict[str, Any]:
    """The scores of trainings in points, with mean and standard deviation (null for one).

    Where other metrics are told besides, their means stand under `more`.
    """
    values = [run.facts["score"] for run in runs]
    std = statistics.stdev(values) if len(values) > 1 else None
    more = {
        name: statistics.fmean(run.facts["more"][name] for run in runs)
        for name in runs[0].facts.get("more", {})
    }
    told = {"values": values, "mean": statistics.fmean(values), "std": std}
    return {**told, "more": more} if more else told


def verdict(
    store: Store,
    task: Task,
    dense: Sequence[Result],
    ticket: Sequence[Result],
    sparsity: Decimal,
    *,
    fixed: bool,
) -> Verdict:
    """Is it matching: over seeds if there are several, else over the examples of the one run."""
    if len(dense) > 1:
        return paired_t(
            [run.facts["score"] for run in dense],
            [run.facts["score"] for run in ticket],
            margin=task.margin,
            sparsity=sparsity,
            estimand=FIXED_TICKET if fixed else SEARCH,
        )
    return bootstrap(
        _score(store, task, dense[0]),
        _score(store, task, ticket[0]),
        examples=len(read_outcome(store, dense[0].key)),
        margin=task.margin,
        sparsity=sparsity,
        generator=np.random.default_rng(stream(0, "bootstrap")),
    )


def _score(store: Store, task: Task, run: Result) -> Callable[..., float]:
    """Test examples, by number -> the run's score on them, in points."""
    metric, outcome = METRICS[task.metric], read_outcome(store, run.key)
    return lambda numbers: metric(outcome[numbers])


def overlap(store: Store, ours: Sequence[Job], theirs: Sequence[Job]) -> float:
    """Mean Jaccard index of the dead weights of masks, pair by pair."""
    return statistics.fmean(
        jaccard(read_mask(store, a.key), read_mask(store, b.key))
        for a, b in zip(ours, theirs, strict=True)
    )
