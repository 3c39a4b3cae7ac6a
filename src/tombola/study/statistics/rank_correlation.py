"""Kendall's rank correlation over a few tasks: whether a quantity rises with another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from tombola.study.statistics.interval import FloatArray, ends

__all__ = ["TAU", "Correlation", "kendall"]

TAU = "Kendall's tau"
RESAMPLES = 10_000
"""Orders that are tried; all of them, for seven tasks or fewer."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its interval over seeds and its P values over tasks."""

    interval: tuple[float, float, float]
    """Mean over seeds of Kendall's tau, and its lower and upper end over seeds, for these tasks."""
    rising_p_value: float
    """The P value of the order of the tasks by chance, one-sided."""
    falling_p_value: float


def kendall(sizes: Sequence[int], values: FloatArray, error: float) -> Correlation:
    """The correlation of sizes with values.

    Args:
        sizes: [tasks], not all equal.
        values: [seeds, tasks], two seeds or more.
        error: the error of either end of the interval.

    Source: permutation test of the order of the tasks by their mean value; ties stay ties.
    """
    taus = np.array([scipy.stats.kendalltau(sizes, row).statistic for row in values])
    order = np.sign(np.subtract.outer(sizes, sizes))

    def concordance(ranked: FloatArray, axis: int = -1) -> FloatArray:
        signs = np.sign(ranked[..., :, None] - ranked[..., None, :])
        total: FloatArray = (order * signs).sum(axis=(-2, -1))
        return total

    rising, falling = (
        float(
            scipy.stats.permutation_test(
                (np.mean(values, axis=0),),
                concordance,
                permutation_type="pairings",
                alternative=side,
                n_resamples=RESAMPLES,
                vectorized=True,
                rng=np.random.default_rng(0),
            ).pvalue
        )
        for side in ("greater", "less")
    )
    ranked = len(sizes) * (len(sizes) - 1) / 2
    taus = np.nan_to_num(taus)  # no order at all is no correlation
    mean, low, high = ends(taus, error, resolution=1 / ranked, scale=1.0)
    return Correlation((mean, max(low, -1.0), min(high, 1.0)), rising, falling)
