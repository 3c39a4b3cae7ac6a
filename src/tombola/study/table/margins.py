"""The margin of each task: the one that is named, or the rule's from what dense scores on dev."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.study.statistics.interval import refuse_not_finite
from tombola.tasks.task import Task

__all__ = ["TICKET", "Margin", "margin_of", "margin_rule", "margins"]

NAMED, TICKET, RULE, LEAST, DIVERGED = "named", "ticket", "rule", "least", "diverged"


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How far below dense still counts as matching, and where that number comes from."""

    points: float
    origin: str
    """named by the task or the user; ticket: that of its search; rule: from dev; least: one point,
    where there is no dev split to take more from; diverged: one point, for dense has no score."""
    dense: float | None = None
    """Score of the dense network on dev that the rule has taken, in points."""
    trivial: float | None = None
    """Score there of a baseline that learns nothing from the texts, in points."""
    seed: int | None = None
    """Seed of that dense network."""

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return dataclasses.asdict(self)

    @property
    def notes(self) -> list[str]:
        """How the margin was chosen, where neither the task nor the user names one."""
        if self.origin == RULE:
            return [
                f"the margin is {self.points:.2f} points: the larger of 1 and 5 % of dense's gain "
                f"on dev (dense {self.dense:.2f}, best constant answer {self.trivial:.2f}, seed "
                f"{self.seed})."
            ]
        if self.origin == LEAST:
            return [
                "the margin is 1 point: there is no dev split with labels on which to measure "
                "dense's gain. --margin sets another."
            ]
        if self.origin == DIVERGED:
            return ["the margin is 1 point: dense diverged, so that no share of its gain is known."]
        return []


def margin_rule(
    dense_score: float, trivial_score: float, *, point: float = 1.0, share: float = 0.05
) -> float:
    """The default margin: one point, or a share of what dense gains over the trivial baseline.

    Args:
        dense_score: the score of the whole network, in points.
        trivial_score: the score of the majority class or another constant answer, in points.
        point: the least margin, in points.
        share: fraction of the gain.

    Returns: the larger of the two, in points.
    """
    refuse_not_finite("a score", [dense_score, trivial_score])
    return max(point, share * (dense_score - trivial_score))


def margin_of(task: Task, scored: Result | None, *, tried: bool = False) -> Margin:
    """The margin of a task.

    Args:
        task: which names one, or leaves it to the rule.
        scored: what the first seed's dense network scores on dev; None if there is none.
        tried: whether there is a dev split, so that without a score the network has diverged.

    Source: the rule of `margin_rule`.
    """
    if not task.by_rule:
        return Margin(points=task.margin, origin=NAMED)
    if scored is None or scored.facts["score"] is None:
        return Margin(points=task.margin, origin=DIVERGED if tried else LEAST)
    dense, trivial = scored.facts["score"], scored.facts["trivial"]
    return Margin(
        points=margin_rule(dense, trivial),
        origin=RULE,
        dense=dense,
        trivial=trivial,
        seed=scored.facts["seed"],
    )


def margins(plan: Plan, store: Store, halted: Collection[str] = ()) -> dict[str, float | None]:
    """Task of a plan -> its margin in points; None until dense is scored on dev, where the rule
    asks.

    Args:
        plan: the plan, with the scorings.
        store: the store with their results.
        halted: keys of the jobs that can't be done after a training that diverged.
    """
    scorings = {job.subject.task: job for job in plan.jobs if job.kind == "score"}
    tasks = {cell.target: cell.baseline.subject.task for cell in plan.cells}
    return {name: _known(task, scorings.get(task), store, halted) for name, task in tasks.items()}


def _known(task: Task, scoring: Job | None, store: Store, halted: Collection[str]) -> float | None:
    """The margin of a task, as far as it is known."""
    scored = store.read(scoring.key) if scoring else None
    if scoring and scored is None and task.by_rule and scoring.key not in halted:
        return None
    return margin_of(task, scored).points
