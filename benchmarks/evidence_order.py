"""The plans of evidence/ as one list of jobs, the most important first; loads no torch.

The list is cut by time, so whatever comes first is done first: stage by stage, in a stage seed by
seed, and within a seed the longest chains of trainings.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pyarrow.parquet as pq

from tombola.base.specs import TrainSpec
from tombola.lab.planfile.plan_file import PlanFile, expand, read_plan
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import Task

EVIDENCE = Path(__file__).parents[1] / "evidence"
DOSES = ("dose-0.40", "dose-0.13", "dose-0.04", "dose-0.01")
SPANS = ("span-0.13", "span-0.04", "span-0.01")
QUARTERS = ("quarter-steps", "quarter-epochs")
Stages: TypeAlias = Sequence[tuple[tuple[str, ...], tuple[int, ...]]]
STAGES: Stages = (
    (DOSES, (0, 1, 2)),
    (("table2",), (0, 1, 2)),
    (DOSES, (3,)),
    (("no-rewind", "lineage", *SPANS, *QUARTERS), (0, 1, 2)),
    (("figure2",), (0, 1, 2)),
)
"""Plans and the seeds that are done of them."""
SMALL_DOSES = ("small-0.13", "small-0.04", "small-0.01")
SMALL_SOURCES = ("small-no-rewind", "small-lineage", "small-quarter-steps", "small-quarter-epochs")
STUDIES: Mapping[str, Stages] = {
    "full": STAGES,
    "small": ((SMALL_DOSES, (0, 1, 2)),),
    "sources": tuple(((name,), (0, 1, 2)) for name in SMALL_SOURCES),
    "winning": ((("winning",), (0, 1, 2, 3)),),
}
"""The whole study; the dose, then other sources, where targets are trained briefly; Table 2 on
three tasks."""
BROWN_BLOCKS = 5014
"""Training examples of lineage.yaml, which are blocks of its texts and not its rows."""

MakeSubject: TypeAlias = Callable[[Task, TrainSpec], Subject]


@dataclass(frozen=True)
class Share:
    """What a plan adds to those before it, with some seeds."""

    plan: str
    seeds: tuple[int, ...]
    trainings: int
    steps: int


def names(stages: Stages = STAGES) -> list[str]:
    """Every plan once, in the order of the stages."""
    return list(dict.fromkeys(name for plans, _ in stages for name in plans))


def read(name: str) -> PlanFile:
    """A plan of the study."""
    return read_plan(EVIDENCE / f"{name}.yaml")


def planned(file: PlanFile, seeds: Sequence[int], subject: MakeSubject) -> Plan:
    """A plan with some of its seeds."""
    return expand(replace(file, seeds=tuple(seeds)), subject)


def counted_subject(task: Task, recipe: TrainSpec) -> Subject:
    """A task with the number of its training examples and nothing else of its data."""
    [rows] = [pq.read_metadata(file).num_rows for file in task.folder.glob("train-*.parquet")]
    examples = BROWN_BLOCKS if task.data else rows
    return Subject(
        model="mini",
        fingerprint="0" * 64,
        task=task,
        recipe=recipe,
        data=task.data or task.name,
        examples=examples,
        folder=None,
    )


def study(
    files: Mapping[str, PlanFile], subject: MakeSubject, stages: Stages = STAGES
) -> tuple[Plan, list[Share]]:
    """Every job of the study in the order in which they are done, and what each plan adds.

    Args:
        files: name -> plan; those of the stages.
        subject: makes the subject of a task with its recipe.
        stages: plans and their seeds.
    """
    jobs: dict[str, Job] = {}
    shares = []
    for plans, seeds in stages:
        added: dict[str, list[Job]] = {name: [] for name in plans}
        for seed in seeds:
            now: dict[str, Job] = {}
            for name in plans:
                for job in planned(files[name], [seed], subject).jobs:
                    if job.key not in jobs and job.key not in now:
                        now[job.key] = job
                        added[name].append(job)
            jobs |= {job.key: job for job in longest_first(list(now.values()))}
        shares += [share(name, seeds, added[name]) for name in plans]
    return Plan(tuple(jobs.values())), shares


def share(name: str, seeds: tuple[int, ...], jobs: Iterable[Job]) -> Share:
    """The share of a plan, from the jobs that it adds."""
    steps = [job.steps for job in jobs if job.kind == "train"]
    return Share(name, seeds, len(steps), sum(steps))


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """Jobs by the steps of the longest chain that begins with them; parents stay before children.

    Args:
        jobs: each after its parents, which may be elsewhere.
    """
    chain = {job.key: job.steps for job in jobs}
    for job in reversed(jobs):
        for parent in job.parents.values():
            if parent.key in chain:
                chain[parent.key] = max(chain[parent.key], parent.steps + chain[job.key])
    return sorted(jobs, key=lambda job: -chain[job.key])


def table(shares: Sequence[Share], steps_a_second: float) -> str:
    """What each plan adds, with the seconds at a number of steps a second, and the sums."""
    head = f"{'plan':<16}{'seeds':>8}{'trainings':>11}{'steps':>9}{'sum':>9}{'seconds':>9}"
    lines, total = [head], 0
    for each in shares:
        total += each.steps
        seeds = f"{each.seeds[0]}-{each.seeds[-1]}" if len(each.seeds) > 1 else f"{each.seeds[0]}"
        lines.append(
            f"{each.plan:<16}{seeds:>8}{each.trainings:>11}{each.steps:>9}{total:>9}"
            f"{total / steps_a_second:>9.0f}"
        )
    return "\n".join(lines)


def markdown(shares: Sequence[Share]) -> str:
    """The table of evidence/README.md."""
    lines, total = (
        ["| plan | seeds | trainings | steps | steps so far |", "|---|---|---|---|---|"],
        0,
    )
    for each in shares:
        total += each.steps
        seeds = ", ".join(map(str, each.seeds))
        lines.append(f"| `{each.plan}` | {seeds} | {each.trainings} | {each.steps:,} | {total:,} |")
    return "\n".join(lines)
