"""The verdict on a network with a single run in the store, over its test examples."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np

from tombola.base.seeds import derive_seed
from tombola.lab.store.artifacts import read_predictions
from tombola.lab.store.result_store import Store
from tombola.study.statistics.interval import FloatArray
from tombola.study.statistics.resampled_scores import IntArray, resampled_scores
from tombola.study.table.row import Row
from tombola.study.verdicts.example_bootstrap import ScoredExamples, bootstrap
from tombola.study.verdicts.verdict import Verdict
from tombola.tasks.metrics import CONTEXT, CREDITS, METRICS, resolution

__all__ = ["single_run_verdict", "verdicts_from"]


def verdicts_from(store: Store) -> Callable[[Row], Verdict]:
    """Verdicts on single runs, whose predictions a store has."""

    def judge(row: Row) -> Verdict:
        assert row.margin is not None
        return single_run_verdict(
            store,
            (row.dense_key, row.key),
            metric=row.metric,
            margin=row.margin,
            sparsity=row.sparsity,
        )

    return judge


def single_run_verdict(
    store: Store, keys: tuple[str, str], *, metric: str, margin: float, sparsity: Decimal | None
) -> Verdict:
    """The bootstrap over test examples of two trainings, named by their keys, dense first."""
    measure, credit = METRICS[metric], CREDITS.get(metric)
    dense, ticket = (read_predictions(store, key) for key in keys)

    def together(drawn: IntArray) -> FloatArray:
        mine, theirs = (resampled_scores(metric, each, drawn) for each in (ticket, dense))
        return mine - theirs

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
        generator=np.random.default_rng(derive_seed(0, "bootstrap")),
        together=together,
    )
