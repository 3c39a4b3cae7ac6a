"""What a test set can resolve: the share of examples that a change costs, however few were seen.

A score moves in steps of one test example. Differences that all come out equal have no spread, and
still leave open what the next test examples would do: where none of n examples got worse, up to
1 - 0.05^(1/n) of them may (95 %).
"""

from math import sqrt

import scipy

__all__ = ["net_ends", "p_net_above"]

LARGEST_P = 0.5
SMALLEST_P = 1e-12
"""P values are looked for between these two."""


def net_ends(
    lost: float, won: float, pairs: float, below: float, above: float
) -> tuple[float, float]:
    """Lower and upper end of the share of pairs won minus the share lost.

    Args:
        lost: pairs in which the second network is worse; a fraction, if pairs count in part.
        won: pairs in which it is better.
        pairs: all of them.
        below: chance that the true value is below the lower end.
        above: chance that it is above the upper end.

    Source: the limits of Clopper and Pearson (1934) for either share, put together as in Zou and
        Donner (2008), with the correlation of two shares of one total.
    """
    shares = min(won / pairs, 1.0), min(lost / pairs, 1.0)
    difference = shares[0] - shares[1]
    low = difference - _joined(
        shares, shares[0] - _least(won, pairs, below), _most(lost, pairs, below) - shares[1]
    )
    high = difference + _joined(
        shares, _most(won, pairs, above) - shares[0], shares[1] - _least(lost, pairs, above)
    )
    return max(low, -1.0), min(high, 1.0)


def p_net_above(lost: float, won: float, pairs: float, bound: float) -> float:
    """One-sided P value of `net_ends`: the chance at which the lower end reaches the bound.

    Returns: at most 1.0, which stands for everything from 0.5 on.
    """

    def beyond(chance: float) -> float:
        return net_ends(lost, won, pairs, chance, LARGEST_P)[0] - bound

    if beyond(LARGEST_P) <= 0:
        return 1.0
    if beyond(SMALLEST_P) > 0:
        return SMALLEST_P
    return float(scipy.optimize.brentq(beyond, SMALLEST_P, LARGEST_P, xtol=1e-13))


def _joined(shares: tuple[float, float], one: float, other: float) -> float:
    """The distance of an end from the difference, from those of the two shares from theirs."""
    won, lost = shares
    away = (1 - won) * (1 - lost)
    correlation = min(1.0, sqrt(won * lost / away)) if away > 0 else 1.0
    return sqrt(one**2 + other**2 + 2 * correlation * one * other)


def _least(count: float, of: float, chance: float) -> float:
    """The lower limit of a share."""
    if count <= 0:
        return 0.0
    return float(scipy.special.betaincinv(count, max(of - count, 0.0) + 1, chance))


def _most(count: float, of: float, chance: float) -> float:
    """The upper limit of a share."""
    if count >= of:
        return 1.0
    return float(scipy.special.betaincinv(count + 1, of - count, 1 - chance))
