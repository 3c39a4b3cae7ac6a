"""Components of the variance of differences: seeds, and test examples."""

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
import scipy
from numpy.typing import NDArray

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import FloatArray

__all__ = ["Components", "by_cluster", "components"]


@dataclass(frozen=True, kw_only=True)
class Components:
    """How much a mean difference would vary over other seeds, and over other test examples.

    In points; variances are estimates, and those that come out negative are zero.
    """

    mean: float
    seeds: int
    examples: int
    """Test examples, or clusters of them."""
    seed_sd: float
    """Standard deviation over seeds of the difference on infinitely many test examples."""
    example_sd: float
    """Standard deviation over test examples of the difference over infinitely many seeds."""
    rest_sd: float
    """Standard deviation of the rest: the interaction of seed and example, and noise."""
    seed_error: float
    """Standard error of the mean over other seeds, on this test set."""
    example_error: float
    """Standard error that other test examples add to it, in quadrature."""

    def interval(self, level: float) -> tuple[float, float]:
        """The interval for the mean over other seeds and other test examples, in points.

        It is never narrower than the t interval over seeds.
        """
        chance = (1 + level) / 2
        reach = hypot(
            float(scipy.special.stdtrit(self.seeds - 1, chance)) * self.seed_error,
            float(scipy.special.stdtrit(self.examples - 1, chance)) * self.example_error,
        )
        return self.mean - reach, self.mean + reach


def components(gains: FloatArray) -> Components:
    """The components of variance of seeds and test examples, both random and crossed.

    Args:
        gains: [seeds, examples] score of one network minus that of another on each example with
            each seed, in points; two or more of both.

    Raises: SpecError, for fewer.

    Source: the analysis of variance of two crossed random effects, without interaction apart from
        the rest; the interval adds the half-widths of both in quadrature, as Zou and Donner 2008.
    """
    if gains.ndim != 2 or min(gains.shape) < 2:
        raise SpecError(
            "components of variance need gains of two seeds or more on two test examples or more, "
            f"got an array of {' x '.join(map(str, gains.shape))}."
        )
    seeds, examples = gains.shape
    mean, by_seed, by_example = gains.mean(), gains.mean(axis=1), gains.mean(axis=0)
    left = gains - by_seed[:, None] - by_example[None, :] + mean
    rest = float(np.sum(left**2)) / ((seeds - 1) * (examples - 1))
    of_seeds = examples * float(np.var(by_seed, ddof=1))
    of_examples = seeds * float(np.var(by_example, ddof=1))
    more = max(of_examples - rest, 0.0)
    return Components(
        mean=float(mean),
        seeds=seeds,
        examples=examples,
        seed_sd=sqrt(max(of_seeds - rest, 0.0) / examples),
        example_sd=sqrt(more / seeds),
        rest_sd=sqrt(rest),
        seed_error=sqrt(of_seeds / (seeds * examples)),
        example_error=sqrt(more / (seeds * examples)),
    )


def by_cluster(gains: FloatArray, clusters: NDArray[np.int64]) -> FloatArray:
    """The gains of clusters of test examples, such as the questions about one text.

    Args:
        gains: [seeds, examples], in points.
        clusters: [examples] a number for each; examples that share it belong together.

    Returns: [seeds, clusters], whose means over clusters are those over examples, and which vary as
        a mean of clusters of different sizes does.

    Source: the linearised ratio estimator, Cochran 1977, Sampling Techniques, section 6.
    """
    numbers, place = np.unique(clusters, return_inverse=True)
    mean = gains.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(place, row, len(numbers)) for row in gains - mean])
    linearised: FloatArray = mean + sums * len(numbers) / gains.shape[1]
    return linearised
