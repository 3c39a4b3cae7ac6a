"""Is a subnetwork matching? Intervals against a margin that was fixed before the runs.

A score is in percentage points (0 to 100) everywhere in this file, and so are differences,
margins, intervals and standard deviations. A seed is one complete search, paired with the dense
run of the same seed.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import FloatArray, ends, finite, paired
from tombola.study.statistics.power import LEAST_DENSE_RUNS, seeds_needed
from tombola.study.statistics.resolution import net_ends
from tombola.study.verdicts.verdict import SEARCH, THIS_RUN, Status, Verdict

__all__ = [
    "ScoredExamples",
    "bootstrap",
    "highest_winning",
    "margin",
    "paired_t",
    "within_one_dense_sd",
    "within_one_pooled_sd",
]

IntArray: TypeAlias = NDArray[np.int64]
Statistic: TypeAlias = Callable[[IntArray], float]

RESAMPLES = 10_000


def margin(
    dense_score: float, trivial_score: float, *, point: float = 1.0, share: float = 0.05
) -> float:
    """The default margin: one point, or a share of what dense gains over the trivial baseline.

    Args:
        dense_score: of the whole network, in points.
        trivial_score: of the majority class or its like, in points.
        point: the least margin, in points.
        share: fraction of the gain.

    Returns: the larger of the two, in points.
    """
    finite("a score", [dense_score, trivial_score])
    return max(point, share * (dense_score - trivial_score))


def paired_t(
    dense: Sequence[float],
    ticket: Sequence[float],
    *,
    margin: float,
    sparsity: Decimal | None,
    resolution: float,
    level: float = 0.90,
    estimand: str = SEARCH,
    dense_sd: float | None = None,
) -> Verdict:
    """The primary test: the paired-t interval of ticket minus dense, against the margin.

    Args:
        dense: score of the dense run of each seed, in points; two seeds or more.
        ticket: score of the ticket of the same seeds, in the same order.
        margin: how far below dense still counts as matching, in points.
        sparsity: of the ticket.
        resolution: what one test example is worth, in points. It bounds the spread from below:
            equal differences on few examples are no certainty.
        level: coverage of the interval.
        estimand: SEARCH, or FIXED_TICKET for one ticket on fresh seeds.
        dense_sd: standard deviation of ten or more dense runs, in points, from which an
            undecided verdict says how many seeds would settle it. None: that of `dense`,
            if these are ten or more, since that of fewer is too rough to plan with.

    Returns: a verdict. Its `seeds_needed` is for 80 % power, and None where the runs already were
        that many.
    Raises: SpecError, for fewer than two seeds, unequal lengths, or a score that is no number.
    """
    _check(margin, level)
    pairs = paired(dense, ticket, "seed", least=2)
    seeds = pairs.shape[1]
    mean, *interval = ends(pairs[1] - pairs[0], (1 - level) / 2, resolution=resolution)
    status = _status((interval[0], interval[1]), margin)
    if dense_sd is None and seeds >= LEAST_DENSE_RUNS:
        dense_sd = _sd(pairs[0])
    needed = None
    if status == "undecided" and dense_sd is not None and margin > 0:
        needed = seeds_needed(dense_sd, margin, level=level, resolution=resolution)
    return Verdict(
        status=status,
        sparsity=sparsity,
        difference=mean,
        interval=(interval[0], interval[1]),
        margin=margin,
        level=level,
        estimand=estimand,
        seeds=seeds,
        seeds_needed=needed if needed is not None and needed > seeds else None,
    )


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

    An end is at least as far as the examples won and lost would have it (`net_ends`): a bootstrap
    sees no chance of what did not happen.

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
    _check(margin, level)
    members = _members(test_set)
    if test_set.examples < 2:
        raise SpecError(f"a bootstrap needs at least 2 test examples, got {test_set.examples}.")
    whole = np.arange(test_set.examples)
    difference = ticket(whole) - dense(whole)
    resampled = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        drawn = generator.integers(len(members), size=len(members))
        index = drawn if test_set.clusters is None else np.concatenate([members[n] for n in drawn])
        resampled[at] = ticket(index) - dense(index)
    if not isfinite(difference) or not np.isfinite(resampled).all():
        raise SpecError(
            "the metric is undefined on the test split or on a resample of it, as a correlation "
            "is where all predictions are equal. Use more test examples or several seeds."
        )
    chance = (1 - level) / 2
    low, high = np.quantile(resampled, [chance, 1 - chance])
    least, most = _resolved(difference, test_set, members, chance)
    interval = min(float(low), least), max(float(high), most)
    return Verdict(
        status=_status(interval, margin),
        sparsity=sparsity,
        difference=difference,
        interval=interval,
        margin=margin,
        level=level,
        estimand=THIS_RUN,
        seeds=1,
    )


def _members(test_set: ScoredExamples) -> list[IntArray]:
    """The examples of each cluster, or each example alone."""
    clusters = np.arange(test_set.examples) if test_set.clusters is None else test_set.clusters
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order])) + 1
    return np.split(order, starts)


def _resolved(
    difference: float, test_set: ScoredExamples, members: Sequence[IntArray], chance: float
) -> tuple[float, float]:
    """The ends that the examples won and lost allow, around the difference, in points.

    Clusters count as many as equal ones would that tell as much (Kish's effective number): where
    one text has nearly all questions, the others are no evidence.
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


def within_one_dense_sd(dense: Sequence[float], ticket: Sequence[float]) -> bool:
    """Descriptive, the paper's rule read literally: mean within one sd of dense runs.

    It rewards noisy training: with five runs, a ticket truly a full standard deviation worse
    passes about 46 % of the time.

    Args:
        dense: scores of two or more dense runs, in points.
        ticket: scores of the ticket's runs, of the same seeds.
    """
    pairs = paired(dense, ticket, "seed", least=2)
    return bool(np.mean(pairs[1]) >= np.mean(pairs[0]) - _sd(pairs[0]))


def within_one_pooled_sd(dense: Sequence[float], ticket: Sequence[float]) -> bool:
    """Descriptive, the reading with which the paper's table agrees: one pooled sd.

    Args: as for within_one_dense_sd(); the pooled variance is the mean of the two.
    """
    pairs = paired(dense, ticket, "seed", least=2)
    pooled = sqrt((_sd(pairs[0]) ** 2 + _sd(pairs[1]) ** 2) / 2)
    return bool(np.mean(pairs[1]) >= np.mean(pairs[0]) - pooled)


def highest_winning(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The sparsest matching ticket below which every tested one is matching too.

    Fixed-sequence testing: each verdict at full level, stop at the first that is not matching or
    undecided. A ticket matching above a failure does not count.

    Args:
        verdicts: of one task, from the lowest sparsity upward.

    Returns: None, if the first one fails.
    Raises: SpecError, if the sparsities do not rise.
    """
    sparsities = [verdict.sparsity for verdict in verdicts]
    known = [sparsity for sparsity in sparsities if sparsity is not None]
    if len(known) < len(sparsities) or any(b <= a for a, b in itertools.pairwise(known)):
        raise SpecError(
            "fixed-sequence testing takes one verdict per sparsity, lowest first, "
            f"got sparsities {', '.join(map(str, sparsities))}."
        )
    passed = list(itertools.takewhile(lambda verdict: verdict.status == "matching", verdicts))
    return passed[-1] if passed else None


def _status(interval: tuple[float, float], margin: float) -> Status:
    """Where the interval lies; one that ends at the limit, or spans it, decides nothing."""
    if interval[0] > -margin:
        return "matching"
    return "not matching" if interval[1] < -margin else "undecided"


def _check(margin: float, level: float) -> None:
    if not (isfinite(margin) and margin >= 0):
        raise SpecError(f"margin is a number of points, 0 or more, got {margin}.")
    if not 0 < level < 1:
        raise SpecError(f"level is a fraction between 0 and 1, got {level}. For 90 % write 0.9.")


def _sd(scores: FloatArray) -> float:
    return float(np.std(scores, ddof=1))
