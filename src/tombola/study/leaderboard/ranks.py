"""Ranks of networks with their uncertainty, from tests of every pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tombola.study.statistics.multiple_testing import holm
from tombola.study.table.grouping import NetworkRows
from tombola.study.verdicts.comparison import Comparison

__all__ = ["LEVEL", "Better", "Ranking", "ranking"]

LEVEL = 0.05
"""Probability that any pair is wrongly shown to differ, over a whole ranking."""


@dataclass(frozen=True, kw_only=True)
class Better:
    """One network that is shown to be better than another."""

    better: int
    """Place of the better one among those that are ranked."""
    worse: int
    difference: float
    """Mean over seeds of better minus worse, in points."""
    adjusted_p_value: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What the tests of every pair of some networks show."""

    ranks: list[tuple[int, int]]
    """The best and the worst rank that each may have."""
    shown: list[Better]
    """The pairs that differ, by Holm."""

    @property
    def winner(self) -> int | None:
        """Place of the one that is shown to be better than every other; None if none is."""
        first = [place for place, rank in enumerate(self.ranks) if rank == (1, 1)]
        return first[0] if first and len(self.ranks) > 1 else None


def ranking(networks: Sequence[NetworkRows]) -> Ranking:
    """Ranks from paired t tests of all pairs, two-sided, corrected for their number by Holm.

    A network's best rank is one more than the networks shown to be better, its worst the number of
    all less those shown to be worse. All true ranks together are in these intervals with a
    probability of at least 1 - LEVEL. A pair of which a seed is missing shows nothing.

    Args:
        networks: networks on one task at one sparsity.

    Source: Al Mohamad, Goeman and van Zwet 2022, Biometrics, with Holm's tests instead of Tukey's:
        all that the intervals need is control of the family-wise error.
    """
    places = list(combinations(range(len(networks)), 2))
    pairs = [Comparison.on_shared_seeds(networks[a], networks[b]) for a, b in places]
    adjusted = holm([_p_value(pair) for pair in pairs])
    shown = [
        _better(place, pair, p)
        for place, pair, p in zip(places, pairs, adjusted, strict=True)
        if p < LEVEL
    ]
    beaten, beats = [each.worse for each in shown], [each.better for each in shown]
    ranks = [
        (1 + beaten.count(place), len(networks) - beats.count(place))
        for place in range(len(networks))
    ]
    return Ranking(ranks=ranks, shown=shown)


def _p_value(pair: Comparison) -> float:
    """The two-sided P value of "the two differ"."""
    if not pair.first:
        return 1.0
    return min(1.0, 2 * min(pair.p_value(0.0, above=True), pair.p_value(0.0, above=False)))


def _better(place: tuple[int, int], pair: Comparison, p_value: float) -> Better:
    mean = pair.ends(LEVEL)[0]
    better, worse = place if mean > 0 else place[::-1]
    return Better(better=better, worse=worse, difference=abs(mean), adjusted_p_value=p_value)
