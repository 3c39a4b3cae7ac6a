"""A verdict on one run of a ticket: a paired bootstrap over its test examples.

It is about this run only. Scores, differences and margins are in points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import FloatArray
from tombola.study.statistics.resolution import net_ends
from tombola.study.verdicts.verdict import THIS_RUN, Verdict, check_margin, status_of

__all__ = ["ScoredExamples", "bootstrap"]

IntArray: TypeAlias = NDArray[np.int64]
Statistic: TypeAlias = Callable[[IntArray], float]

RESAMPLES = 10_000
BATCH = 100
"""Resamples that are drawn at a time; it bounds the memory and changes no number."""


@dataclass(frozen=True, kw_only=True)
class ScoredExamples:
    """What a bootstrap needs to know of the test examples of one run."""

    resolution: float
    """What one example is worth, in points."""
    examples: int
    gains: FloatArray | None = None
    """[examples] what the ticket earns more than dense on each, from -1 to 1; None for a metric
    to which no single example adds anything, such as a correlation."""
    clusters: IntArray | None = None
    """[examples] a number for each; examples that share it are drawn together, as the questions
    about one text are. None if each stands for itself."""

    def by_cluster(self) -> list[IntArray]:
        """The examples of each cluster, or each example alone."""
        clusters = np.arange(self.examples) if self.clusters is None else self.clusters
        order = np.argsort(clusters, kind="stable")
        starts = np.flatnonzero(np.diff(clusters[order])) + 1
        return np.split(order, starts)


def bootstrap(
    dense: Statistic,
    ticket: Statistic,
    *,
    test_set: ScoredExamples,
    margin: float,
    sparsity: Decimal | None,
    generator: np.random.Generator,
    level: float = 0.90,
) -> Verdict:
    """One seed, any metric: a paired percentile bootstrap over the test examples.

    An end is at least as far out as the examples won and lost put it (`net_ends`): a bootstrap
    gives no chance to what did not happen.

    Args:
        dense: int64 indices of test examples -> the dense network's score on them, in points; an
            index may come several times.
        ticket: the same for the ticket.
        test_set: the examples.
        margin: how far below dense still counts as matching, in points.
        sparsity: of the ticket.
        generator: draws the resamples.
        level: coverage of the interval.

    Returns: a verdict about this run only.
    Raises: SpecError, if the metric is undefined on the test split or on a resample of it.
    """
    check_margin(margin, level)
    if test_set.examples < 2:
        raise SpecError(f"a bootstrap needs at least 2 test examples, got {test_set.examples}.")
    members = test_set.by_cluster()

    def minus_dense(index: IntArray) -> float:
        return _finite(ticket(index) - dense(index))

    difference = minus_dense(np.arange(test_set.examples))
    low, high = _percentiles(minus_dense, test_set, members, level, generator)
    least, most = _resolved(difference, test_set, members, (1 - level) / 2)
    interval = min(low, least), max(high, most)
    return Verdict(
        status=status_of(interval, margin),
        sparsity=sparsity,
        difference=difference,
        interval=interval,
        margin=margin,
        level=level,
        estimand=THIS_RUN,
        seeds=1,
    )


def _finite(difference: float) -> float:
    if not isfinite(difference):
        raise SpecError(
            "the metric is undefined on the test split or on a resample of it, as a correlation "
            "is where all predictions are equal. Use more test examples or several seeds."
        )
    return difference


def _percentiles(
    statistic: Statistic,
    test_set: ScoredExamples,
    members: Sequence[IntArray],
    level: float,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """The percentile interval of a statistic over resampled clusters."""
    if len(members) < 2:  # every resample is the test set itself
        whole = statistic(np.concatenate(members))
        return whole, whole

    def of_clusters(drawn: IntArray) -> float:
        together = (
            drawn if test_set.clusters is None else np.concatenate([members[n] for n in drawn])
        )
        return statistic(together)

    found = scipy.stats.bootstrap(
        (np.arange(len(members)),),
        of_clusters,
        n_resamples=RESAMPLES,
        batch=BATCH,
        vectorized=False,
        confidence_level=level,
        method="percentile",
        rng=generator,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _resolved(
    difference: float, test_set: ScoredExamples, members: Sequence[IntArray], chance: float
) -> tuple[float, float]:
    """The ends that the examples won and lost allow, around the difference, in points.

    Clusters count as Kish's effective number of them, that of equal ones with the same
    information: where one text has nearly all questions, the others are hardly evidence.
    """
    shares = np.array([len(mine) for mine in members]) / test_set.examples
    units, scale = float(1 / np.sum(shares**2)), test_set.resolution * test_set.examples
    if test_set.gains is None:
        net = np.array([difference / scale * units])
    else:
        net = units * shares * [test_set.gains[mine].mean() for mine in members]
    lost, won = float(-net[net < 0].sum()), float(net[net > 0].sum())
    least, most = net_ends(lost, won, units, chance, chance)
    centre = (won - lost) / units
    return difference - scale * (centre - least), difference + scale * (most - centre)
