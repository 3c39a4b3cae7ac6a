"""Copies of jobs that are changed together with all that they depend on."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from tombola.plan.job import Job
from tombola.plan.plan import Plan

__all__ = ["derive_jobs", "replace_teacher"]


def derive_jobs(wanted: Iterable[Job], change: Callable[[Job], Job]) -> dict[str, Job]:
    """Key of a job -> the changed job, for some jobs and all that they depend on.

    Args:
        wanted: the jobs.
        change: job -> changed job; its parents have been changed already.
    """
    made: dict[str, Job] = {}
    for job in Plan.of(wanted).jobs:
        parents = {role: made[parent.key] for role, parent in job.parents.items()}
        made[job.key] = change(replace(job, parents=parents))
    return made


def replace_teacher(teacher: Job, job: Job) -> Job:
    """A copy of a job with another teacher, if it has one."""
    if "teacher" not in job.parents:
        return job
    return replace(job, parents={**job.parents, "teacher": teacher})
