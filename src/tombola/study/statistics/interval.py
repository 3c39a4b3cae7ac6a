"""Intervals and P values for the mean of paired differences; in points everywhere."""

from collections.abc import Sequence
from math import inf, isfinite, sqrt
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from tombola.base.errors import SpecError
from tombola.study.statistics.resolution import net_ends, p_net_above

__all__ = [
    "FloatArray",
    "ends",
    "p_above",
    "p_below",
    "p_resolved",
    "paired_scores",
    "refuse_not_finite",
    "rounding_variance",
    "score_ends",
    "t_parts",
]

FloatArray: TypeAlias = NDArray[np.float64]


def ends(
    differences: ArrayLike,
    below: float,
    above: float | None = None,
    *,
    resolution: float,
    scale: float = 100.0,
) -> tuple[float, float, float]:
    """Mean, lower and upper end of an interval, each end with an error rate of its own.

    Either end is the farther one of two: that of the t interval, whose spread is at least what
    rounding to steps makes, and that of the share of test examples won and lost. So the interval
    has a width even if all differences are equal.

    Args:
        differences: [seeds], two or more.
        below: chance that the true mean is below the lower end.
        above: chance that it is above the upper end; the same by default.
        resolution: what one test example is worth, above 0, in the unit of the differences.
        scale: what all test examples together are worth.

    Source: the paired t interval with Sheppard's correction for two rounded scores and a
        correction for continuity.
    """
    above = below if above is None else above
    mean, error, shift, freedom = t_parts(differences, resolution)
    low, high = (
        shift + error * -float(scipy.special.stdtrit(freedom, chance)) for chance in (below, above)
    )
    pairs = (freedom + 1) * scale / resolution
    net = net_ends(*_net(mean, pairs, scale), pairs, below, above)
    return mean, min(mean - low, scale * net[0]), max(mean + high, scale * net[1])


def p_above(
    differences: ArrayLike, bound: float, *, resolution: float, scale: float = 100.0
) -> float:
    """One-sided P value: small, if the true mean is above the bound.

    It is below a level exactly where the lower end of `ends` at that level is above the bound.

    Args:
        differences: [seeds], two or more.
        bound: the bound, in the unit of the differences.
        resolution, scale: the same as for ends().
    """
    mean, error, shift, freedom = t_parts(differences, resolution)
    of_t = float(scipy.special.stdtr(freedom, -(mean - shift - bound) / error))
    return max(of_t, p_resolved(differences, bound, resolution=resolution, scale=scale))


def p_resolved(
    differences: ArrayLike, bound: float, *, resolution: float, scale: float = 100.0
) -> float:
    """The part of `p_above` that the number of test examples allows, whatever the spread."""
    values = np.asarray(differences, dtype=np.float64)
    pairs = values.size * scale / resolution
    return p_net_above(*_net(float(np.mean(values)), pairs, scale), pairs, bound / scale)


def p_below(
    differences: ArrayLike, bound: float, *, resolution: float, scale: float = 100.0
) -> float:
    """One-sided P value: small, if the true mean is below the bound."""
    return p_above(
        -np.asarray(differences, dtype=np.float64), -bound, resolution=resolution, scale=scale
    )


def t_parts(differences: ArrayLike, resolution: float) -> tuple[float, float, float, int]:
    """Mean, its standard error, the correction for continuity, and the degrees of freedom."""
    if not 0 < resolution < inf:
        raise SpecError(f"the resolution of a score is above 0, got {resolution}.")
    values = np.asarray(differences, dtype=np.float64)
    error = sqrt((float(np.var(values, ddof=1)) + rounding_variance(resolution)) / values.size)
    return float(np.mean(values)), error, resolution / 2 / values.size, values.size - 1


def rounding_variance(resolution: float) -> float:
    """Variance of the difference of two scores, each rounded to a step."""
    return resolution**2 / 6


def _net(mean: float, pairs: float, scale: float) -> tuple[float, float]:
    """The fewest examples, lost and won, that make a mean difference."""
    count = abs(mean) / scale * pairs
    return (count, 0.0) if mean < 0 else (0.0, count)


def paired_scores(dense: ArrayLike, ticket: ArrayLike) -> FloatArray:
    """Scores of the same seeds as one array [2, seeds], dense first.

    Raises: SpecError, for unequal numbers of scores, fewer than two, or one that is not finite.
    """
    pair = [np.asarray(scores, dtype=np.float64) for scores in (dense, ticket)]
    shapes = [scores.shape for scores in pair]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or shapes[0][0] < 2:
        raise SpecError(
            "dense and ticket need one score for each of the same seeds, 2 or more, "
            f"got {pair[0].size} and {pair[1].size}."
        )
    both = np.stack(pair)
    refuse_not_finite("a score", both.ravel())
    return both


def score_ends(scores: ArrayLike, below: float, *, resolution: float) -> tuple[float, float, float]:
    """Mean, lower and upper end of the t interval for the mean score over seeds.

    The test set is fixed: it says nothing about other test examples.

    Args:
        scores: [seeds], two or more, in points.
        below: chance that the true mean is below the lower end, and as much above the upper one.
        resolution: what one test example is worth, in points; the variance of rounding is added.
    """
    values = np.asarray(scores, dtype=np.float64)
    error = sqrt((np.var(values, ddof=1) + rounding_variance(resolution) / 2) / values.size)
    reach = -float(scipy.special.stdtrit(values.size - 1, below)) * error
    mean = float(np.mean(values))
    return mean, mean - reach, mean + reach


def refuse_not_finite(what: str, values: Sequence[float] | FloatArray) -> None:
    """Refuse infinities and NaN.

    Raises: SpecError, with the first of them.
    """
    bad = [value for value in values if not isfinite(value)]
    if bad:
        raise SpecError(f"{what} is a finite number, got {bad[0]}. Leave out the run that failed.")
