"""How many seeds a verdict needs; standard deviations and margins are in points."""

from math import ceil, hypot, inf, log, log1p, sqrt

import scipy

from tombola.errors import SpecError
from tombola.study.interval import finite

__all__ = ["LEAST_DENSE_RUNS", "matching_power", "seeds_needed"]

LEAST_DENSE_RUNS = 10
"""The spread of fewer dense runs is too rough to plan with."""


def matching_power(seeds: int, dense_sd: float, margin: float, *, level: float = 0.90) -> float:
    """Chance that a ticket truly equal to dense comes out as matching.

    The margin is a fixed number. Where it is instead the standard deviation that the same runs
    happen to show, power is a few hundredths lower, most for few seeds.

    Args:
        seeds: number of seeds, two or more.
        dense_sd: true standard deviation of dense runs, in points. The ticket's is taken to be
            the same, and the two independent, so that a difference has sqrt(2) times it;
            pairs that go up and down together need fewer seeds.
        margin: in points.
        level: coverage of the interval; the test is one-sided at (1 - level) / 2.

    Source: the noncentral t distribution of the paired t statistic.
    """
    if dense_sd == 0:
        return 1.0
    # From 40 on the power is 1 to nine digits, and the distribution's tail loses precision.
    shift = min(margin * sqrt(seeds) / (sqrt(2) * dense_sd), 40.0)
    critical = scipy.stats.t.ppf((1 + level) / 2, seeds - 1)
    return float(scipy.stats.nct.sf(critical, seeds - 1, shift))


def seeds_needed(
    dense_sd: float, margin: float, *, resolution: float, power: float = 0.80, level: float = 0.90
) -> int:
    """Fewest seeds with which a ticket truly equal to dense comes out as matching, mostly.

    Args:
        dense_sd: standard deviation of ten or more dense runs, in points.
        margin: in points.
        resolution: what one test example is worth, in points: on few examples, many seeds are
            needed however little they differ.
        power: the chance wanted.
        level: coverage of the interval.

    Raises: SpecError, if the spread is no number or the margin not above zero: no n is enough.
    """
    finite("the standard deviation of dense", [dense_sd])
    if not 0 < margin < inf or dense_sd < 0 or not (0 < power < 1 and 0 < level < 1):
        raise SpecError(
            "seeds_needed takes a margin above 0, a standard deviation of 0 or more, a power and "
            f"a level between 0 and 1, got {margin}, {dense_sd}, {power} and {level}."
        )
    quantiles = float(scipy.stats.norm.ppf((1 + level) / 2) + scipy.stats.norm.ppf(power))
    # The normal distribution asks for too few, and never for many too few.
    seeds = max(2, ceil(2 * (max(quantiles, 0.0) * dense_sd / margin) ** 2))
    spread = hypot(dense_sd, resolution / sqrt(12))  # a score is rounded to a step
    while matching_power(seeds, spread, margin, level=level) < power:
        seeds += 1
    # With no example lost, the share that may be must be below the margin.
    pairs = log((1 - level) / 2) / log1p(-min(margin / 100, 1 - 1e-9))
    return max(seeds, ceil(pairs * resolution / 100))
