"""Several tests at once: how many of them hold, and which, with their error bounded."""

from collections.abc import Sequence
from math import ceil, log2

import numpy as np
import scipy
from numpy.typing import ArrayLike

__all__ = ["at_least", "holm", "sign_flip", "sign_flip_seeds"]

MOST_SIGN_FLIP_SEEDS = 16
"""65,536 patterns of signs, all of which are tried."""


def at_least(p_values: Sequence[float], count: int) -> float:
    """P value of "at least `count` of these hold", however the tests depend on each other.

    "All of them" is the intersection-union test, the largest P value uncorrected; "one of them"
    is Bonferroni's.

    Args:
        p_values: one a test; 1.0 for one that can't be made yet.
        count: how many of them, from 1 to all.

    Source: Benjamini and Heller 2008, partial conjunction, Bonferroni's form.
    """
    return min(1.0, (len(p_values) - count + 1) * sorted(p_values)[count - 1])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted P values for "which of these hold", at any one level for all of them together.

    Source: Holm 1979.
    """
    # statsmodels, which tests compare this with, takes longer to import than a whole table to judge
    adjusted, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def sign_flip_seeds(level: float, tests: int) -> int:
    """Fewest seeds with which a sign-flip test can reach a level that is shared by some tests.

    Args:
        level: one-sided, of all tests together.
        tests: their number; the smallest P value faces level / tests.
    """
    return ceil(log2(tests / level))


def sign_flip(differences: ArrayLike, bound: float, *, level: float, tests: int) -> float | None:
    """The exact sign-flip test, which needs no normal distribution, only a symmetric one.

    Args:
        differences: [seeds], in points.
        bound: the P value is small if their centre is above this, in points.
        level: one-sided, of all tests together.
        tests: how many there are.

    Returns: None where 2^-seeds, its smallest P value, can't reach the corrected level, or there
        are enough seeds that the t test will do.
    """
    shifted = np.round(np.asarray(differences, dtype=np.float64) - bound, 9)
    if not sign_flip_seeds(level, tests) <= shifted.size <= MOST_SIGN_FLIP_SEEDS:
        return None
    done = scipy.stats.permutation_test(
        (shifted,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**shifted.size,
        batch=2**12,
        vectorized=True,
    )
    return float(done.pvalue)
