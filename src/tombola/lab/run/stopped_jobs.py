"""Jobs that can't be done, because a training whose weights they need has diverged."""

from collections.abc import Collection, Iterable

from tombola.lab.store.result_store import Store
from tombola.plan.job import Job

__all__ = ["stopped"]


def stopped(jobs: Iterable[Job], store: Store, todo: Collection[str]) -> dict[str, Job]:
    """Keys of the jobs that can't be done -> the diverged training whose weights they need.

    A network whose weights are not finite can't be pruned, trained further or interpolated.

    Args:
        jobs: of a plan, parents first.
        store: with the trainings.
        todo: keys of the jobs that have no result yet.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        if job.key not in todo:
            continue
        for parent in job.parents.values():
            if parent.key in found:
                found[job.key] = found[parent.key]
        for parent in job.reads_weights:
            if parent.key not in todo and _diverged(parent, store):
                found[job.key] = parent
    return found


def _diverged(job: Job, store: Store) -> bool:
    result = store.read(job.key) if job.kind == "train" else None
    return result is not None and result.diverged is not None
