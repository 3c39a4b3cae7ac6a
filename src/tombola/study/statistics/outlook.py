"""What undecided differences suggest; in points everywhere."""

from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tombola.study.statistics.interval import rounding_variance, t_parts
from tombola.study.statistics.resolution import net_ends

__all__ = ["Outlook", "outlook"]

SHARES = (np.arange(400) + 0.5) / 400
"""Quantiles at which the next difference is evaluated."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where the true mean difference probably is, and what one more seed would do."""

    below: float
    """Probability that it is below minus the margin."""
    within: float
    """Probability that it is from minus the margin to the margin."""
    above: float
    """Probability that it is above the margin."""
    next_seed: float
    """Probability that the verdict over one more seed is matching or not matching."""

    @property
    def whole_percent(self) -> tuple[int, int, int]:
        """The three probabilities in percent, rounded; they may add up to 99 or 101."""
        return round(100 * self.below), round(100 * self.within), round(100 * self.above)

    def sentence(self) -> str:
        """The three probabilities in words."""
        below, within, above = self.whole_percent
        return f"{below} % likely to be below it, {within} % within, {above} % above"


def outlook(differences: ArrayLike, margin: float, level: float, resolution: float) -> Outlook:
    """The t posterior of the mean difference, and the predictive chance of a verdict.

    Both follow from one prior, flat in the mean and in the logarithm of the standard deviation.
    They describe the differences; nothing is tested by them.

    Args:
        differences: [seeds], two or more.
        margin: how far below dense still counts as matching.
        level: coverage of the verdict's interval.
        resolution: what one test example is worth, above 0.

    Source: Gelman et al. 2013, Bayesian Data Analysis, section 3.2, with the variance of `ends`.
    """
    mean, error, _, freedom = t_parts(differences, resolution)
    below = float(scipy.special.stdtr(freedom, (-margin - mean) / error))
    above = float(scipy.special.stdtr(freedom, (mean - margin) / error))
    decided = _decided(differences, margin, (1 - level) / 2, resolution)
    return Outlook(below=below, within=1 - below - above, above=above, next_seed=decided)


def _decided(differences: ArrayLike, margin: float, chance: float, resolution: float) -> float:
    """The chance that the interval of `ends` with one more difference decides the verdict."""
    mean, error, _, freedom = t_parts(differences, resolution)
    seeds = freedom + 1
    away = error * sqrt(seeds + 1) * scipy.special.stdtrit(seeds - 1, SHARES)
    after, rounding = mean + away / (seeds + 1), rounding_variance(resolution)
    squares = (seeds - 1) * (error**2 * seeds - rounding) + away**2 * seeds / (seeds + 1)
    errors = np.sqrt((squares / seeds + rounding) / (seeds + 1))
    reach = resolution / 2 / (seeds + 1) - scipy.special.stdtrit(seeds, chance) * errors
    pairs = (seeds + 1) * 100 / resolution
    matching = (after - reach > -margin) & (after > _resolved_from(pairs, margin, chance))
    not_matching = (after + reach < -margin) & (-after > _resolved_from(pairs, -margin, chance))
    return float(np.mean(matching | not_matching))


@lru_cache(maxsize=256)
def _resolved_from(pairs: float, margin: float, chance: float) -> float:
    """The mean difference from which the lower end by test examples is above minus the margin."""

    def beyond(mean: float) -> float:
        count = abs(mean) / 100 * pairs
        lost, won = (count, 0.0) if mean < 0 else (0.0, count)
        return 100 * net_ends(lost, won, pairs, chance, chance)[0] + margin

    if beyond(100.0) <= 0:
        return inf
    return -100.0 if beyond(-100.0) > 0 else float(scipy.optimize.brentq(beyond, -100.0, 100.0))
