"""Linear mode connectivity: networks on the line between two runs, and the barriers on it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from tombola.lab.store.result_store import Store
from tombola.plan.cell import Cell
from tombola.plan.plan import Plan

__all__ = ["ConnectivityLine", "barrier", "connectivity_lines"]


@dataclass(frozen=True, kw_only=True)
class ConnectivityLine:
    """Networks on the straight line between two trained ones."""

    arm: str
    network: str
    """What was trained: dense, or a finder such as imp."""
    task: str
    sparsity: str | None
    seed: int
    """The seed of the search, and of the head that both ends share."""
    orders: tuple[int, ...]
    """Seeds of the two data orders."""
    metric: str | None
    """None where it has not been done."""
    split: str
    """The split that scores and losses come from."""
    positions: tuple[float, ...]
    """Empty, as all below, where it has not been done; 0 is the first end, 1 the second."""
    scores: tuple[float, ...]
    """The scores in points."""
    losses: tuple[float, ...]
    """Mean loss on the same examples."""
    score_barrier: float | None
    """Points by which the worst network on the line is below the mean of the ends."""
    loss_barrier: float | None
    """Loss by which the worst network on the line is above the mean of the ends."""
    key: str
    """Key of the interpolation."""
    ends: tuple[str, ...]
    """Keys of the two trainings."""

    @property
    def done(self) -> bool:
        """Whether it is in the store."""
        return bool(self.positions)

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return asdict(self)


def barrier(errors: Sequence[float]) -> float:
    """The worst error along a line minus the mean of the errors of its ends.

    The ends belong to the line, so it is half of their difference, at least.

    Source: Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis.
    """
    return max(errors) - fmean((errors[0], errors[-1]))


def connectivity_lines(plan: Plan, store: Store) -> list[ConnectivityLine]:
    """Every line of a plan, in its order; those that are not done have no scores."""
    ends: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        if cell.line is not None:
            ends.setdefault(f"{cell.arm} {cell.line.key}", []).append(cell)
    return [_line(pair, store) for pair in ends.values()]


def _line(pair: Sequence[Cell], store: Store) -> ConnectivityLine:
    cell = pair[0]
    assert cell.line is not None
    result = store.read(cell.line.key)
    facts = result.facts if result else {}
    scores, losses = facts.get("scores", []), facts.get("losses", [])
    known = bool(scores) and None not in scores and None not in losses
    return ConnectivityLine(
        arm=cell.arm,
        network=cell.what,
        task=cell.target,
        sparsity=None if cell.sparsity is None else f"{cell.sparsity:f}",
        seed=cell.seed,
        orders=tuple(seed for end in pair if (seed := end.order_seed) is not None),
        metric=facts.get("metric"),
        split=cell.training.subject.task.test_split,
        positions=tuple(facts.get("positions", ())),
        scores=tuple(scores),
        losses=tuple(losses),
        score_barrier=barrier([-score for score in scores]) if known else None,
        loss_barrier=barrier(losses) if known else None,
        key=cell.line.key,
        ends=tuple(end.key for end in pair),
    )
