"""How much a difference varies over seeds and over test examples, from stored predictions."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isclose
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import TombolaError
from tombola.lab.store.artifacts import read_predictions
from tombola.lab.store.result_store import Store
from tombola.study.statistics.components import Components, by_cluster, components
from tombola.study.statistics.interval import FloatArray
from tombola.study.verdicts.comparison import Comparison
from tombola.tasks.metrics import CONTEXT, CREDITS, METRICS

__all__ = ["OVER_BOTH", "ComponentsOf", "SeedsAndExamples", "components_from"]

OVER_BOTH = "mean over seeds and test examples like these of (ticket - dense)"
LEVEL = 0.90
MOST_GROUPS = 50
"""Groups of test examples, for metrics that are not a mean over examples."""

Predictions: TypeAlias = NDArray[np.float64]
Run: TypeAlias = tuple[Predictions, Predictions]
"""The predictions of a ticket and of dense, of one seed."""
ComponentsOf: TypeAlias = "Callable[[Comparison], SeedsAndExamples | None]"
"""Returns the components of a comparison, if its predictions are known."""


@dataclass(frozen=True)
class SeedsAndExamples:
    """The components of a difference, and its interval over seeds and test examples."""

    parts: Components
    interval: tuple[float, float]
    """90 %, in points; never narrower than the verdict's, which is over seeds alone."""

    def to_json(self) -> dict[str, Any]:
        """The components, the interval and what it is about."""
        about = {"estimand": OVER_BOTH, "level": LEVEL, "interval": [*self.interval]}
        return asdict(self.parts) | about


def components_from(store: Store) -> ComponentsOf:
    """The components of comparisons with dense, whose predictions a store has."""

    def of_pair(pair: Comparison) -> SeedsAndExamples | None:
        if not pair.testable:
            return None
        try:
            found = [
                (read_predictions(store, mine), read_predictions(store, dense))
                for mine, dense in pair.runs
            ]
        except TombolaError:  # a store may have lost them; scores and verdicts are kept apart
            return None
        gains = _gains(found, pair.first[0].metric)
        return None if gains.shape[1] < 2 else _over_both(components(gains), pair)

    return of_pair


def _over_both(parts: Components, pair: Comparison) -> SeedsAndExamples:
    low, high = parts.interval(LEVEL)
    _, least, most = pair.ends((1 - LEVEL) / 2)
    return SeedsAndExamples(parts, (min(low, least), max(high, most)))


def _gains(runs: Sequence[Run], metric: str) -> FloatArray:
    """Score of the ticket minus dense, [seeds, test examples or clusters], in points."""
    credited = [gains for run in runs if (gains := _credited(run, metric)) is not None]
    if len(credited) < len(runs):  # one where nothing differs has them, whatever the metric
        credited = [_jackknifed(run, metric) for run in runs]
    return np.stack(credited)


def _credited(run: Run, metric: str) -> FloatArray | None:
    """The gains of one seed, if the metric is a mean over test examples."""
    mine, dense = run
    measure, credit = METRICS[metric], CREDITS.get(metric)
    if credit is None:
        return None
    gains: FloatArray = 100 * (credit(mine) - credit(dense))
    if not isclose(gains.mean(), measure(mine) - measure(dense), abs_tol=1e-9):
        return None
    if mine.shape[1] > CONTEXT:
        [gains] = by_cluster(gains[None], mine[:, CONTEXT].astype(np.int64))
    return gains


def _jackknifed(run: Run, metric: str) -> FloatArray:
    """The gains of one seed, by groups of test examples, for any metric."""
    mine, dense = run
    measure = METRICS[metric]
    return _pseudovalues(lambda kept: measure(mine[kept]) - measure(dense[kept]), len(mine))


def _pseudovalues(statistic: Callable[[NDArray[np.bool_]], float], examples: int) -> FloatArray:
    """The jackknife's stand-ins for gains, for a metric that is not a mean over examples.

    Source: Tukey 1958, each time without one of the groups; as Dorfman, Berbaum and Metz 1992.
    """
    groups = min(MOST_GROUPS, examples)
    group, whole = np.arange(examples) % groups, statistic(np.ones(examples, dtype=bool))
    without = np.array([statistic(group != left_out) for left_out in range(groups)])
    values = groups * whole - (groups - 1) * without
    return np.asarray(values - values.mean() + whole, dtype=np.float64)
