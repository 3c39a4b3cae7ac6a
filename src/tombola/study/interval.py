"""Intervals and P values for the mean of paired differences; in points everywhere."""

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from tombola.errors import SpecError

__all__ = ["FloatArray", "ends", "finite", "p_above", "p_below", "paired"]

FloatArray: TypeAlias = NDArray[np.float64]


def ends(
    differences: ArrayLike, below: float, above: float | None = None
) -> tuple[float, float, float]:
    """Mean, lower and upper end of a t interval, each end with an error rate of its own.

    Args:
        differences: [seeds], two or more.
        below: chance that the true mean is below the lower end.
        above: chance that it is above the upper end; the same by default.

    Returns: three equal numbers if all differences are equal.
    """
    mean, error, freedom = _mean_and_error(differences)
    if not error:
        return mean, mean, mean
    low, high = (
        error * float(scipy.stats.t.isf(chance, freedom))
        for chance in (below, below if above is None else above)
    )
    return mean, mean - low, mean + high


def p_above(differences: ArrayLike, bound: float) -> float:
    """One-sided P value of the t test: small, if the true mean is above the bound.

    It is below a level exactly where the lower end of `ends` at that level is above the bound.

    Args:
        differences: [seeds], two or more.
        bound: in points.
    """
    mean, error, freedom = _mean_and_error(differences)
    if not error:
        return 0.0 if mean > bound else 1.0
    return float(scipy.stats.t.sf((mean - bound) / error, freedom))


def _mean_and_error(differences: ArrayLike) -> tuple[float, float, int]:
    """Mean, its standard error, 0 if all differences are equal, and the degrees of freedom."""
    # 1e-9 points is far below any score's resolution, and makes equal differences equal.
    values = np.round(np.asarray(differences, dtype=np.float64), 9)
    if np.ptp(values) == 0:
        return float(values[0]), 0.0, values.size - 1
    error = float(np.std(values, ddof=1)) / sqrt(values.size)
    return float(np.mean(values)), error, values.size - 1


def p_below(differences: ArrayLike, bound: float) -> float:
    """The same, small if the true mean is below the bound."""
    return p_above(-np.asarray(differences, dtype=np.float64), -bound)


def paired(dense: ArrayLike, ticket: ArrayLike, unit: str, *, least: int) -> FloatArray:
    """Scores [2, n], dense first.

    Args:
        dense: [n] scores.
        ticket: [n] scores of the same units.
        unit: what a score is of: a seed or a test example.
        least: smallest n that makes sense.

    Raises: SpecError, for unequal or too few scores, or one that is no number.
    """
    pair = [np.asarray(scores, dtype=np.float64) for scores in (dense, ticket)]
    shapes = [scores.shape for scores in pair]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or shapes[0][0] < least:
        raise SpecError(
            f"dense and ticket need one score for each of the same {unit}s, {least} or more, "
            f"got {pair[0].size} and {pair[1].size}."
        )
    both = np.stack(pair)
    finite("a score", both.ravel())
    return both


def finite(what: str, values: Sequence[float] | FloatArray) -> None:
    """Refuse what is no number.

    Raises: SpecError, with the first that is none.
    """
    bad = [value for value in values if not isfinite(value)]
    if bad:
        raise SpecError(f"{what} is a finite number, got {bad[0]}. Leave out the run that failed.")
