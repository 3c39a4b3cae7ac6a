"""Jobs that can't be done, because a training whose weights or mask they need has diverged."""

from collections.abc import Collection, Iterable

from tombola.lab.store.result_store import Store
from tombola.plan.job import Job

__all__ = ["stopped"]


def stopped(jobs: Iterable[Job], store: Store, todo: Collection[str]) -> dict[str, Job]:
    """Keys of the jobs that can't be done -> the diverged training whose weights or mask they need.

    A network whose weights are not finite can't be pruned, trained further or interpolated, and a
    search for a mask whose training has diverged leaves none.

    Args:
        jobs: the jobs of a plan, parents first.
        store: the store with the trainings and masks.
        todo: keys of the jobs that have no result yet.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        if job.key not in todo:
            continue
        for parent in job.parents.values():
            if parent.key in found:
                found[job.key] = found[parent.key]
        masks = (parent for parent in job.parents.values() if parent.kind == "prune")
        for parent in (*job.reads_weights, *masks):
            if parent.key not in todo and _diverged(parent, store):
                found[job.key] = parent
    return found


def _diverged(job: Job, store: Store) -> bool:
    result = store.read(job.key) if job.kind in ("train", "prune") else None
    return result is not None and result.diverged is not None
