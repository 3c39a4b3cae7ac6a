"""How many seeds a verdict needs; standard deviations and margins are in points."""

from math import ceil, inf, log, log1p, sqrt

import numpy as np
import scipy

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import refuse_not_finite
from tombola.study.statistics.resolution import net_ends

__all__ = ["LEAST_DENSE_RUNS", "matching_power", "seeds_needed"]

LEAST_DENSE_RUNS = 10
"""The spread of fewer dense runs is too rough to plan with."""
MANY = 10**5
"""Seeds from which the normal distribution is exact enough."""


def matching_power(
    seeds: int, dense_sd: float, margin: float, *, level: float = 0.90, resolution: float = 0.0
) -> float:
    """Chance that a ticket truly equal to dense comes out as matching.

    The margin is a fixed number. Where it is instead the standard deviation that the same runs
    happen to show, power is a few hundredths lower, most for few seeds.

    Args:
        seeds: number of seeds, two or more.
        dense_sd: true standard deviation of dense runs, in points. The ticket's is taken to be
            the same, and the two independent, so that a difference has sqrt(2) times it;
            pairs that go up and down together need fewer seeds.
        margin: the margin, in points.
        level: coverage of the interval; the test is one-sided at (1 - level) / 2.
        resolution: what one test example is worth, in points; 0 for examples without number.

    Source: the mean difference is normal, and its variance chi-squared: the chance of a mean for
        which the lower end of `interval.ends` is above minus the margin, over all variances.
    """
    chance = (1 - level) / 2
    shares = (np.arange(500) + 0.5) / 500
    variances = 2 * dense_sd**2 * scipy.stats.chi2.ppf(shares, seeds - 1) / (seeds - 1)
    errors = np.sqrt((variances + resolution**2 / 6) / seeds)
    needed = scipy.stats.t.isf(chance, seeds - 1) * errors + resolution / 2 / seeds - margin
    needed = np.maximum(needed, _least_mean(seeds, margin, chance, resolution))
    if dense_sd == 0:
        return float(needed[0] < 0)
    return float(np.mean(scipy.stats.norm.sf(needed / (sqrt(2 / seeds) * dense_sd))))


def _least_mean(seeds: int, margin: float, chance: float, resolution: float) -> float:
    """The mean difference above which the examples of all seeds allow "matching", in points."""
    if resolution == 0:
        return -inf
    pairs = seeds * 100 / resolution

    def above(lost: float) -> float:
        return 100 * net_ends(lost * pairs / 100, 0.0, pairs, chance, chance)[0] + margin

    if above(0.0) <= 0:
        return inf
    if above(min(margin, 100.0)) > 0:
        return -inf
    return -float(scipy.optimize.brentq(above, 0.0, min(margin, 100.0)))


def seeds_needed(
    dense_sd: float, margin: float, *, resolution: float, power: float = 0.80, level: float = 0.90
) -> int:
    """Fewest seeds with which a ticket truly equal to dense comes out as matching, mostly.

    Args:
        dense_sd: standard deviation of ten or more dense runs, in points.
        margin: the margin, in points.
        resolution: what one test example is worth, in points: on few examples, many seeds are
            needed however little they differ.
        power: the chance wanted.
        level: coverage of the interval.

    Raises: SpecError, if the spread is not finite or the margin not above zero: no n is enough.
    """
    refuse_not_finite("the standard deviation of dense", [dense_sd])
    if not 0 < margin < inf or dense_sd < 0 or not (0 < power < 1 and 0 < level < 1):
        raise SpecError(
            "seeds_needed takes a margin above 0, a standard deviation of 0 or more, a power and "
            f"a level between 0 and 1, got {margin}, {dense_sd}, {power} and {level}."
        )
    quantiles = float(scipy.stats.norm.ppf((1 + level) / 2) + scipy.stats.norm.ppf(power))
    # The normal distribution asks for too few, and never for many too few; nor do the examples
    # that must be right if none is lost.
    spread = 2 * (max(quantiles, 0.0) * dense_sd / margin) ** 2
    right = log((1 - level) / 2) / log1p(-min(margin / 100, 1 - 1e-9)) * resolution / 100
    few = max(2, ceil(spread), ceil(right))
    if few > MANY:
        return few

    def enough(seeds: int) -> bool:
        found = matching_power(seeds, dense_sd, margin, level=level, resolution=resolution)
        return found >= power

    lacking, seeds = few - 1, few
    while not enough(seeds):
        lacking, seeds = seeds, ceil(1.2 * seeds)
    while seeds - lacking > 1:
        middle = (seeds + lacking) // 2
        lacking, seeds = (lacking, middle) if enough(middle) else (middle, seeds)
    return seeds
