"""What a ticket and its training cost, and which tickets are on the Pareto frontier."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tombola.study.table.grouping import NetworkRows
from tombola.study.table.row import Row

__all__ = ["Cost", "frontier"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The search for a ticket and the training under it, the mean over seeds."""

    trainings: float
    """The cost in trainings of the dense network, the ticket's own being one; a backward pass
    counts as two forward ones."""
    forward_tokens: float
    backward_tokens: float
    seconds: float

    @classmethod
    def of(cls, rows: NetworkRows) -> "Cost | None":
        """The cost of a network; None if none of its seeds has been counted."""
        known = [cost for row in rows if (cost := _of_row(row)) is not None]
        if not known:
            return None
        return cls(**{name: fmean(getattr(one, name) for one in known) for name in vars(known[0])})


def _of_row(row: Row) -> Cost | None:
    parts = (
        (row.search_trainings, 1.0),
        (row.search_forward_tokens, row.forward_tokens),
        (row.search_backward_tokens, row.backward_tokens),
        (row.search_seconds, row.seconds),
    )
    sums = [None if None in pair else sum(map(float, pair)) for pair in parts]  # type: ignore[arg-type]
    trainings, forward, backward, seconds = sums
    if trainings is None or forward is None or backward is None or seconds is None:
        return None
    return Cost(
        trainings=trainings, forward_tokens=forward, backward_tokens=backward, seconds=seconds
    )


def frontier(places: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which networks have no other that costs as little and scores as high: Pareto's frontier.

    It goes by means alone, and so describes what was measured; it shows nothing about differences.

    Args:
        places: cost and score of each; one without either is not on the frontier.
    """
    return [
        cost is not None
        and score is not None
        and not any(
            other is not None
            and better is not None
            and other <= cost
            and better >= score
            and (other, better) != (cost, score)
            for other, better in places
        )
        for cost, score in places
    ]
