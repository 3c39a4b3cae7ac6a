"""The searches and evaluations that users ask for, as plans."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tombola.base.specs import EvaluateSpec, FindSpec
from tombola.plan.controls import control
from tombola.plan.job import Job, dense, one_shot, scoring
from tombola.plan.job_spec import as_mask
from tombola.plan.plan import Plan, Search, evaluate
from tombola.plan.subject import Subject

__all__ = ["Evaluation", "Finding", "evaluation", "finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The jobs of a search: what is trained for each seed, and what it is compared with."""

    searches: dict[int, Search]
    """Seed -> its dense training, masks and trainings of masked networks."""
    controls: dict[str, list[Job]]
    """Control -> its training for each seed."""
    one_shot: dict[Decimal, Job]
    """Sparsity -> mask of the largest pre-trained weights, in the units of the search."""
    scoring: Job | None
    """The first seed's dense network on dev, which a margin by the rule is taken from."""

    @property
    def fixed(self) -> bool:
        """Whether all seeds have the same final mask, so that there is one ticket."""
        last = (search.masks[max(search.masks)] for search in self.searches.values())
        return len({mask.key for mask in last}) == 1

    @property
    def plan(self) -> Plan:
        """Everything that has to be done, seed by seed."""
        jobs: list[Job] = []
        for number, search in enumerate(self.searches.values()):
            jobs += [search.dense, *self._scored(number), *search.trainings.values()]
            jobs += [trainings[number] for trainings in self.controls.values()]
        return Plan.of([*jobs, *self.one_shot.values()])

    def _scored(self, number: int) -> list[Job]:
        return [self.scoring] if self.scoring and not number else []


def finding(
    subject: Subject, spec: FindSpec, sparsity: Decimal, search: Callable[[int], Search]
) -> Finding:
    """A search for each seed, each with its controls at the final sparsity.

    Args:
        subject: network and task.
        spec: seeds and controls.
        sparsity: the final one.
        search: seed -> its search.
    """
    searches = {seed: search(seed) for seed in spec.seeds}
    return Finding(
        searches=searches,
        controls={
            name: [
                control(name, subject, one.masks[sparsity], sparsity, seed)
                for seed, one in searches.items()
            ]
            for name in spec.controls
        },
        one_shot={
            sparsity: one_shot(subject, sparsity, as_mask(mask.spec).prune.structure)
            for sparsity, mask in next(iter(searches.values())).masks.items()
        },
        scoring=_scoring(subject, next(iter(searches.values())).dense),
    )


def _scoring(subject: Subject, baseline: Job) -> Job | None:
    return scoring(baseline) if subject.task.by_rule and subject.dev else None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The trainings of a fixed ticket and of the dense network, one of each for a seed."""

    dense: list[Job]
    masked: list[Job]
    scoring: Job | None
    """The first dense network on dev, which a margin by the rule is taken from."""

    @property
    def plan(self) -> Plan:
        """Everything that has to be done."""
        pairs = zip(self.dense, self.masked, strict=True)
        scored = [self.scoring] if self.scoring else []
        return Plan.of([self.dense[0], *scored, *(job for pair in pairs for job in pair)])


def evaluation(subject: Subject, mask: Job, spec: EvaluateSpec) -> Evaluation:
    """A fixed ticket on a task with fresh seeds, next to the dense network."""
    baselines = [dense(subject, seed) for seed in spec.seeds]
    return Evaluation(
        dense=baselines,
        masked=evaluate(subject, mask, spec.seeds, spec.init),
        scoring=_scoring(subject, baselines[0]),
    )
