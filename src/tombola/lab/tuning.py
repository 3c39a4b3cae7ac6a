"""Tuning of the learning rate: of three, the one whose dense network scores best on dev."""

import dataclasses
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any

from tombola.base.errors import SpecError, TrainingDivergedError
from tombola.base.specs import TUNE
from tombola.lab.run.engine import RunSummary
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job, dense, scoring
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject

__all__ = ["Tuned", "Tuning", "tuning"]

FACTORS = (Fraction(1), Fraction(1, 3), Fraction(3))
"""Factors of the recipe's own rate; of equal scores, the first wins."""


@dataclass(frozen=True)
class Tuned:
    """The chosen learning rate and the scores of all; in no key, which has the rate itself."""

    learning_rate: float
    seed: int
    scores: dict[str, float | None]
    """Learning rate, as text -> score of its dense network on dev, in points; None if it
    diverged."""

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Tuning:
    """The jobs of a tuning: for each learning rate, a dense network scored on dev."""

    jobs: dict[float, Job]
    seed: int

    @property
    def plan(self) -> Plan:
        """The plan of all jobs."""
        return Plan.of(self.jobs.values())

    def chosen(self, store: Store, summary: RunSummary) -> Tuned:
        """The rate with the best score.

        Raises: the error of a job that failed, unless its training diverged;
            TrainingDivergedError, if all of them diverged.
        """
        diverged = {job.key for job in self.jobs.values() if _diverged(store, job)}
        for job, error in summary.failed:
            if job.key not in diverged:
                raise error
        scores: dict[float, float | None] = {}
        for rate, job in self.jobs.items():
            result = None if job.key in diverged else store.read(job.key)
            score = result.facts["score"] if result else None
            scores[rate] = score if score is not None and isfinite(score) else None
        finite = {rate: score for rate, score in scores.items() if score is not None}
        if not finite:
            raise TrainingDivergedError(
                f"expected a learning rate that trains, got {', '.join(map(_written, scores))}; "
                "with each of them the dense network diverged. Use a lower --learning-rate."
            )
        best = max(finite, key=lambda rate: finite[rate])
        return Tuned(best, self.seed, {_written(rate): scores[rate] for rate in sorted(scores)})


def tuning(subject: Subject, seed: int) -> Tuning:
    """The tuning over a third of the recipe's learning rate, the rate itself, and three times it.

    The dense network of the chosen rate is also the search's, for that seed.

    Raises: SpecError, if there is no dev split.
    """
    if not subject.dev:
        raise SpecError(
            f"--learning-rate {TUNE} chooses on a dev split with labels, got none for the task "
            f"{subject.task.name!r}. Add one (dev or validation), or pass a number."
        )
    rates = [_times(subject.recipe.learning_rate, factor) for factor in FACTORS]
    jobs = {}
    for rate in rates:
        mine = replace(subject, recipe=replace(subject.recipe, learning_rate=rate))
        training = dense(mine, seed)
        named = replace(training, label=f"{training.label}, learning rate {_written(rate)}")
        jobs[rate] = scoring(named)
    return Tuning(jobs, seed)


def _times(rate: float, factor: Fraction) -> float:
    """A multiple of a rate in two significant digits; the rate itself is not rounded."""
    return rate if factor == 1 else float(f"{float(Fraction(str(rate)) * factor):.1e}")


def _written(rate: float) -> str:
    return f"{rate:g}"


def _diverged(store: Store, job: Job) -> bool:
    training = store.read(job.parents["trained"].key)
    return training is not None and training.diverged is not None
