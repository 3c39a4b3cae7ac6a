"""What trainings in a store say together: scores, a verdict, overlaps. Reads, and runs nothing."""

import statistics
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tombola.base.seeds import stream
from tombola.lab.store.artifacts import read_mask, read_outcome
from tombola.lab.store.result_store import Result, Store
from tombola.plan.plan import Job
from tombola.study.table.row import Row
from tombola.study.verdicts.matching import ScoredExamples, bootstrap, paired_t
from tombola.study.verdicts.verdict import (
    DENSE_HAS_NOT_LEARNED,
    FIXED_TICKET,
    SEARCH,
    Verdict,
    not_learned,
)
from tombola.tasks.metrics import CONTEXT, CREDITS, METRICS, resolution
from tombola.tasks.task import Task
from tombola.ticket.mask import jaccard

__all__ = ["one_run", "overlap", "summary", "verdict"]


def summary(runs: Sequence[Result]) -> dict[str, Any]:
    """Scores in points, mean and standard deviation (null for one), and the trainings' keys.

    Where other metrics are told besides, their means stand under `more`.
    """
    values = [run.facts["score"] for run in runs]
    std = statistics.stdev(values) if len(values) > 1 else None
    more = {
        name: statistics.fmean(run.facts["more"][name] for run in runs)
        for name in runs[0].facts.get("more", {})
    }
    keys = [run.key for run in runs]
    told = {"values": values, "mean": statistics.fmean(values), "std": std, "keys": keys}
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
    scores = [[run.facts["score"] for run in runs] for runs in (dense, ticket)]
    if len(dense) > 1:
        found = paired_t(
            *scores,
            margin=task.margin,
            sparsity=sparsity,
            resolution=resolution(task.metric, read_outcome(store, dense[0].key)),
            estimand=FIXED_TICKET if fixed else SEARCH,
        )
    else:
        keys = dense[0].key, ticket[0].key
        found = _this_run(store, keys, metric=task.metric, margin=task.margin, sparsity=sparsity)
    detail = not_learned(scores[0], dense[0].facts["trivial"], task.margin)
    return found.without_premise(DENSE_HAS_NOT_LEARNED, detail) if detail else found


def one_run(store: Store) -> Callable[[Row], Verdict]:
    """Judges the single run of a network: over test examples, about this run only."""

    def judge(row: Row) -> Verdict:
        return _this_run(
            store,
            (row.dense_key, row.key),
            metric=row.metric,
            margin=row.margin,
            sparsity=row.sparsity,
        )

    return judge


def _this_run(
    store: Store, keys: tuple[str, str], *, metric: str, margin: float, sparsity: Decimal | None
) -> Verdict:
    """The bootstrap over test examples of two trainings, named by their keys, dense first."""
    measure, credit = METRICS[metric], CREDITS.get(metric)
    dense, ticket = (read_outcome(store, key) for key in keys)
    return bootstrap(
        lambda numbers: measure(dense[numbers]),
        lambda numbers: measure(ticket[numbers]),
        test_set=ScoredExamples(
            examples=len(dense),
            resolution=resolution(metric, dense),
            gains=credit(ticket) - credit(dense) if credit else None,
            clusters=dense[:, CONTEXT].astype(np.int64) if dense.shape[1] > CONTEXT else None,
        ),
        margin=margin,
        sparsity=sparsity,
        generator=np.random.default_rng(stream(0, "bootstrap")),
    )


def overlap(store: Store, ours: Sequence[Job], theirs: Sequence[Job]) -> float:
    """Mean Jaccard index of the dead weights of masks, pair by pair."""
    return statistics.fmean(
        jaccard(read_mask(store, a.key), read_mask(store, b.key))
        for a, b in zip(ours, theirs, strict=True)
    )
