"""The trainings of one network, one a seed, and the verdict on them where some diverged."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tombola.lab.store.result_store import Result, Store
from tombola.plan.job import Job
from tombola.study.verdicts.evidence import summary, verdict
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH, THIS_RUN, Verdict
from tombola.tasks.task import Task

__all__ = ["Runs", "verdict_on"]


@dataclass(frozen=True)
class Runs:
    """The trainings of one network, one a seed, some of which may have diverged."""

    jobs: Sequence[Job]
    found: Sequence[Result | None]
    """None where a training can't be done, because one that it goes on from has diverged."""

    @classmethod
    def of(cls, store: Store, jobs: Sequence[Job]) -> "Runs":
        """Those that the store has."""
        return cls(jobs, [store.read(job.key) for job in jobs])

    @property
    def there(self) -> list[Result]:
        """Those that were done."""
        return [one for one in self.found if one is not None]

    @property
    def diverged(self) -> list[str]:
        """What is said of each that has no score."""
        told = []
        for job, one in zip(self.jobs, self.found, strict=True):
            if one is None:
                told.append(f"{job.label}, can't be done after a training that diverged")
            elif one.facts["score"] is None:
                told.append(f"{job.label}, {one.diverged or 'diverged'}")
        return told

    def summary(self) -> dict[str, Any]:
        """Scores, mean and so on; no mean where one diverged, which its absence would hide."""
        if not self.diverged:
            return summary(self.there)
        return {
            "values": [one and one.facts["score"] for one in self.found],
            "mean": None,
            "std": None,
            "keys": [job.key for job in self.jobs],
            "diverged": len(self.diverged),
        }


def verdict_on(
    store: Store, task: Task, dense: Runs, ticket: Runs, sparsity: Decimal, *, fixed: bool
) -> dict[str, Any]:
    """The verdict as JSON; where a run diverged, which one, and no numbers."""
    if not (reasons := [*dense.diverged, *ticket.diverged]):
        return verdict(store, task, dense.there, ticket.there, sparsity, fixed=fixed).to_json()
    about = FIXED_TICKET if fixed else SEARCH
    return Verdict(
        status="undecided",
        sparsity=sparsity,
        difference=None,
        interval=None,
        margin=task.margin,
        level=0.90,
        estimand=about if len(dense.jobs) > 1 else THIS_RUN,
        seeds=len(dense.jobs),
        reason=reasons[0],
        detail="a lower learning rate may help",
    ).to_json()
