"""A verdict on one run of a ticket: a paired bootstrap over its test examples.

It is about this run only. Scores, differences and margins are in points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import scipy

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import FloatArray
from tombola.study.statistics.resampled_scores import IntArray
from tombola.study.statistics.resolution import net_ends
from tombola.study.verdicts.verdict import THIS_RUN, Verdict, check_margin, status_of

__all__ = ["ScoredExamples", "bootstrap"]

Statistic: TypeAlias = Callable[[IntArray], float]
OfResamples: TypeAlias = Callable[[IntArray], FloatArray]
"""(resamples, examples), numbers of test examples -> (resamples,): a number for each."""

RESAMPLES = 10_000
BATCH = 500_000
"""Examples that are drawn at a time; it bounds the memory and changes no number."""


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

    def __post_init__(self) -> None:
        if self.examples < 2:
            raise SpecError(f"a bootstrap needs at least 2 test examples, got {self.examples}.")

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
    together: OfResamples | None = None,
) -> Verdict:
    """One seed, any metric: a paired percentile bootstrap over the test examples.

    An end is at least as far out as the examples won and lost put it (`net_ends`): a bootstrap
    gives no chance to what did not happen.

    Args:
        dense: int64 indices of test examples, some several times -> dense's score, in points.
        ticket: the same for the ticket.
        test_set: the examples.
        margin: how far below dense still counts as matching, in points.
        sparsity: the sparsity of the ticket.
        generator: draws the resamples.
        level: coverage of the interval.
        together: ticket minus dense on each of several resamples; by default, one after another.

    Returns: a verdict about this run only.
    Raises: SpecError, if the metric is undefined on the test split or on a resample of it.
    """
    check_margin(margin, level)
    members = test_set.by_cluster()

    def minus_dense(index: IntArray) -> float:
        return ticket(index) - dense(index)

    of_examples = together or _each(minus_dense)
    statistic = of_examples if test_set.clusters is None else _of_clusters(minus_dense, members)
    difference = float(_finite(np.array(minus_dense(np.arange(test_set.examples)))))
    low_high = _percentiles(statistic, len(members), level, generator)
    interval = _wider(low_high, _resolved(difference, test_set, members, (1 - level) / 2))
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


def _wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """At each end the farther one of two intervals."""
    return min(one[0], other[0]), max(one[1], other[1])


def _finite(differences: FloatArray) -> FloatArray:
    if not np.isfinite(differences).all():
        raise SpecError(
            "the metric is undefined on the test split or on a resample of it, as a correlation "
            "is where all predictions are equal. Use more test examples or several seeds."
        )
    return differences


def _each(statistic: Statistic) -> OfResamples:
    """A statistic of each of several resamples, one after another."""
    return lambda drawn: np.array([statistic(each) for each in drawn])


def _of_clusters(statistic: Statistic, members: Sequence[IntArray]) -> OfResamples:
    """A statistic of the examples in each of several resamples of clusters."""
    examples, sizes = np.concatenate(members), np.array([len(mine) for mine in members])
    starts = np.cumsum(sizes) - sizes

    def of_examples(clusters: IntArray) -> float:
        lengths = sizes[clusters]
        ends = np.cumsum(lengths)
        moved = np.repeat(starts[clusters] - ends + lengths, lengths)
        return statistic(examples[np.arange(ends[-1]) + moved])

    return _each(of_examples)


def _percentiles(
    statistic: OfResamples, units: int, level: float, generator: np.random.Generator
) -> tuple[float, float]:
    """The percentile interval of a statistic over resampled units: examples, or clusters."""
    if units < 2:  # every resample is the test set itself
        whole = float(_finite(statistic(np.zeros((1, 1), dtype=np.int64)))[0])
        return whole, whole
    found = scipy.stats.bootstrap(
        (np.arange(units),),
        lambda drawn, axis: _finite(statistic(drawn)),
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // units),
        vectorized=True,
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
