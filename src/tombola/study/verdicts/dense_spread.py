"""How much the dense runs of a task vary, and how many seeds a verdict needs because of it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tombola.study.statistics.power import LEAST_DENSE_RUNS, seeds_needed
from tombola.study.table.row import Row
from tombola.study.verdicts.verdict import hardly_learned

__all__ = ["DenseSpread", "dense_spreads"]


@dataclass(frozen=True, kw_only=True)
class DenseSpread:
    """The dense runs of a task in a plan, in points."""

    plan: str
    task: str
    runs: int
    """Number of seeds that a plan has trained."""
    mean: float
    sd: float | None
    """None for one run."""
    margin: float | None
    """None as long as it isn't known."""
    warning: str
    """Where the worst run has hardly learned the task; else empty."""
    seeds_needed: int | None
    """Seeds for 80 % power, if a ticket equals dense; None as long as there are fewer than ten
    runs."""

    @property
    def planning_sd(self) -> float | None:
        """The standard deviation, if it comes from enough runs to plan with."""
        return self.sd if self.runs >= LEAST_DENSE_RUNS else None


def dense_spreads(table: Iterable[Row]) -> list[DenseSpread]:
    """One for each task of a plan with a dense run, from every seed that the plan has of it."""
    scores: dict[tuple[str, str], dict[str, float]] = {}
    of_task: dict[tuple[str, str], Row] = {}
    for row in table:
        if row.dense is not None:
            scores.setdefault((row.plan, row.target), {})[row.dense_key] = row.dense
            of_task[row.plan, row.target] = row
    return [_spread(of_task[task], list(found.values())) for task, found in scores.items()]


def _spread(row: Row, scores: list[float]) -> DenseSpread:
    margin, trivial = row.margin, row.trivial
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    needed, warning = None, ""
    if sd is not None and len(scores) >= LEAST_DENSE_RUNS and margin and row.resolution:
        needed = seeds_needed(sd, margin, resolution=row.resolution)
    if trivial is not None and margin is not None:
        warning = hardly_learned(min(scores), trivial, margin)
    return DenseSpread(
        plan=row.plan,
        task=row.target,
        runs=len(scores),
        mean=float(np.mean(scores)),
        sd=sd,
        margin=margin,
        warning=warning,
        seeds_needed=needed,
    )
