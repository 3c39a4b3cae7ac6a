"""Is a subnetwork matching? Intervals against a margin that was fixed before the runs.

A score is in percentage points (0 to 100) everywhere in this file, and so are differences,
margins, intervals and standard deviations. A seed is one complete search, paired with the dense
run of the same seed.
"""

import itertools
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import isfinite, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tombola.errors import SpecError
from tombola.study.interval import FloatArray, ends, finite, paired
from tombola.study.power import LEAST_DENSE_RUNS, seeds_needed
from tombola.study.verdict import SEARCH, THIS_RUN, Status, Verdict

__all__ = [
    "bootstrap",
    "bootstrap_mean",
    "highest_winning",
    "margin",
    "paired_t",
    "within_one_dense_sd",
    "within_one_pooled_sd",
]

IntArray: TypeAlias = NDArray[np.int64]
Statistic: TypeAlias = Callable[[IntArray], float]

RESAMPLES = 10_000
CHUNK = 2**22


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
        level: coverage of the interval.
        estimand: SEARCH, or FIXED_TICKET for one ticket on fresh seeds.
        dense_sd: standard deviation of ten or more dense runs, in points, from which an
            undecided verdict says how many seeds would settle it. None: that of `dense`,
            if these are ten or more, since that of fewer is too rough to plan with.

    Returns: a verdict whose interval has no width if all differences are equal. Its
        `seeds_needed` is for 80 % power, and None where the runs already were that many.
    Raises: SpecError, for fewer than two seeds, unequal lengths, or a score that is no number.
    """
    _check(margin, level)
    pairs = paired(dense, ticket, "seed", least=2)
    seeds = pairs.shape[1]
    mean, *interval = ends(pairs[1] - pairs[0], (1 - level) / 2)
    status = _status((interval[0], interval[1]), margin)
    if dense_sd is None and seeds >= LEAST_DENSE_RUNS:
        dense_sd = _sd(pairs[0])
    needed = None
    if status == "undecided" and dense_sd is not None and margin > 0:
        needed = seeds_needed(dense_sd, margin, level=level)
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


def bootstrap(
    dense: Statistic,
    ticket: Statistic,
    *,
    examples: int,
    margin: float,
    sparsity: Decimal | None,
    generator: np.random.Generator,
    level: float = 0.90,
) -> Verdict:
    """One seed, any metric: a paired percentile bootstrap over the test examples.

    Args:
        dense: int64 indices [examples] of test examples -> the dense network's score on
            them, in points; an index may come several times.
        ticket: the same for the ticket.
        examples: number of test examples.
        margin: how far below dense still counts as matching, in points.
        sparsity: of the ticket.
        generator: draws the resamples.
        level: coverage of the interval.

    Returns: a verdict about this run only.
    Raises: SpecError, if the metric is undefined on the test split or on a resample of it.
    """
    _check(margin, level)
    if examples < 2:
        raise SpecError(f"a bootstrap needs at least 2 test examples, got {examples}.")
    whole = np.arange(examples)
    resampled = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        index = generator.integers(examples, size=examples)
        resampled[at] = ticket(index) - dense(index)
    return _this_run(ticket(whole) - dense(whole), resampled, margin, sparsity, level)


def bootstrap_mean(
    dense: ArrayLike,
    ticket: ArrayLike,
    *,
    margin: float,
    sparsity: Decimal | None,
    generator: np.random.Generator,
    level: float = 0.90,
) -> Verdict:
    """One seed, a metric that is a mean over examples: the same bootstrap, much faster.

    Examples with equal differences are interchangeable, so each resample is one multinomial
    draw over the distinct differences: three of them for accuracy.

    Args:
        dense: score of each test example, as a fraction: 0 or 1, or the example's F1.
        ticket: the same for the ticket, in the same order.
        margin, sparsity, generator, level: as for bootstrap().

    Raises: SpecError, for fewer than two examples, unequal lengths, or a score that is no number.
    """
    _check(margin, level)
    pairs = paired(dense, ticket, "test example", least=2)
    differences = np.round(100 * (pairs[1] - pairs[0]), 9)
    distinct, counts = np.unique(differences, return_counts=True)
    examples = differences.size
    rows = max(1, CHUNK // distinct.size)
    resampled = np.concatenate(
        [
            generator.multinomial(examples, counts / examples, size=min(rows, RESAMPLES - start))
            @ distinct
            / examples
            for start in range(0, RESAMPLES, rows)
        ]
    )
    return _this_run(float(np.mean(differences)), resampled, margin, sparsity, level)


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


def _this_run(
    difference: float,
    resampled: FloatArray,
    margin: float,
    sparsity: Decimal | None,
    level: float,
) -> Verdict:
    """The verdict from the differences [resamples] of one seed's bootstrap, in points."""
    if not isfinite(difference) or not np.isfinite(resampled).all():
        raise SpecError(
            "the metric is undefined on the test split or on a resample of it, as a correlation "
            "is where all predictions are equal. Use more test examples or several seeds."
        )
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    interval = (float(low), float(high))
    return Verdict(
        status=_status(interval, margin),
        sparsity=sparsity,
        difference=float(difference),
        interval=interval,
        margin=margin,
        level=level,
        estimand=THIS_RUN,
        seeds=1,
    )


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
