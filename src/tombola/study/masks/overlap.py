"""How much two masks overlap, and how much they would by chance.

Chance means two masks with the same number of pruned weights in each matrix as these two, drawn
uniformly and independently. In a matrix of n weights of which a and b are pruned, the number pruned
in both is then hypergeometric: mean a b / n, variance a b (n - a) (n - b) / (n^2 (n - 1)).
Matrices are independent, so means and variances add up. That is exact.

The Jaccard index J = I / (S - I) is a function of the intersection I alone, because the sum S of
both counts is fixed. So its z is that of I. Its mean is taken by a Taylor series to the second
order about the mean of I: J(m) + J''(m) v / 2 with J'' = 2 S / (S - I)^3. What is left out is of
the order of v^2 S / (S - m)^5, less than 1e-6 from a thousand weights on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import SpecError
from tombola.ticket.mask import Mask

__all__ = ["Agreement", "Overlap", "agreement", "overlap"]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many pruned weights two masks share, in one matrix or in all."""

    matrix: str
    """Name of the matrix; empty for all together."""
    size: int
    pruned: tuple[int, int]
    """Pruned weights of either mask."""
    both: int
    """Weights that are pruned in both."""
    expected: float
    """The mean of `both` by chance."""
    variance: float
    """The variance of `both` by chance."""

    @property
    def jaccard(self) -> float:
        """|both| / |either|; 1 if nothing is pruned."""
        either = sum(self.pruned) - self.both
        return self.both / either if either else 1.0

    @property
    def chance(self) -> float:
        """The expected Jaccard index by chance, to the second order in the spread of `both`."""
        total = sum(self.pruned)
        either = total - self.expected
        if not either:
            return 1.0
        return self.expected / either + total * self.variance / either**3

    @property
    def z(self) -> float | None:
        """Standard deviations of `both` above its mean by chance; None if its variance is 0."""
        return (self.both - self.expected) / sqrt(self.variance) if self.variance else None


def overlap(a: Mask, b: Mask) -> tuple[Overlap, list[Overlap]]:
    """The overlap of two masks, all matrices together, and each.

    Raises: TicketError, if names or shapes differ.
    """
    a.check(b, "other mask")
    each = [_of_matrix(name, _pruned(a, name), _pruned(b, name)) for name in a]
    whole = Overlap(
        matrix="",
        size=sum(one.size for one in each),
        pruned=(sum(one.pruned[0] for one in each), sum(one.pruned[1] for one in each)),
        both=sum(one.both for one in each),
        expected=sum(one.expected for one in each),
        variance=sum(one.variance for one in each),
    )
    return whole, each


def _of_matrix(name: str, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Overlap:
    size, one, other = a.size, int(a.sum()), int(b.sum())
    spread = (size - one) * (size - other) / (size * (size - 1)) if size > 1 else 0.0
    expected = one * other / size
    return Overlap(
        matrix=name,
        size=size,
        pruned=(one, other),
        both=int((a & b).sum()),
        expected=expected,
        variance=expected * spread,
    )


def _pruned(mask: Mask, name: str) -> NDArray[np.bool_]:
    pruned: NDArray[np.bool_] = ~mask[name].cpu().numpy().reshape(-1)
    return pruned


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many weights are pruned in none, in one, ... in all of several masks."""

    weights: tuple[int, ...]
    """k -> weights that are pruned in exactly k of the masks, from none to all."""
    expected: tuple[float, ...]
    """k -> how many there would be by chance, on average."""


def agreement(masks: Iterable[Mask]) -> Agreement:
    """How much several masks agree, and how much they would by chance at the same sparsities.

    By chance a weight is pruned in each mask independently, with the sparsity that its matrix has
    there; the number of masks it is pruned in is then Poisson-binomial, which is exact on average.

    Args:
        masks: two or more, such as those of the seeds of one search.

    Raises: SpecError, for fewer than two; TicketError, if names or shapes differ.
    """
    given = list(masks)
    if len(given) < 2:
        raise SpecError(f"agreement is among two masks or more, got {len(given)}. Pass more.")
    for other in given[1:]:
        given[0].check(other, "other mask")
    found, chance = np.zeros(len(given) + 1, dtype=np.int64), np.zeros(len(given) + 1)
    for name in given[0]:
        pruned = np.stack([_pruned(mask, name) for mask in given])
        found += np.bincount(pruned.sum(axis=0), minlength=len(given) + 1)
        law = np.ones(1)
        for share in pruned.mean(axis=1):
            law = np.convolve(law, [1 - share, share])
        chance += pruned.shape[1] * law
    return Agreement(weights=tuple(map(int, found)), expected=tuple(map(float, chance)))
