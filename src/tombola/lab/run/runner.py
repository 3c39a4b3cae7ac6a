"""Runs a plan on the workers of a machine or a cluster."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tombola.base.specs import AUTO, LabSpec
from tombola.lab.run.allotment import allot, kernel_before
from tombola.lab.run.engine import RunCallback, RunSummary, Workers, execute, outstanding
from tombola.lab.run.payload import kernel_of
from tombola.lab.run.tracking import check_tracker, trackers
from tombola.lab.run.workers.gpus import places, visible_gpus
from tombola.lab.run.workers.local import ProcessPool, ThisProcess
from tombola.lab.store.numerics import MixedNumericsError, refuse_mixed
from tombola.lab.store.result_store import Store
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan

__all__ = ["check_run", "run_plan", "weights_in_use"]

OF_A_NODE = ("device", "instruction_set", "kernel", "sparse_products")
"""Numerics that a cluster's nodes decide, which compare them with those of other results."""


def run_plan(
    plan: Plan, spec: LabSpec, callback: RunCallback, *, whole: Plan | None = None
) -> tuple[Store, RunSummary]:
    """Do the jobs of a plan that the store lacks.

    Args:
        plan: the jobs.
        spec: the store, and what does the jobs.
        callback: called with the progress.
        whole: the plan that decides the number of workers and threads, as in `allotted`.

    Returns: the store, and the outcome.
    Raises: SpecError, if results in the store were made with other numerics, or there is no such
        tracker; OutputError, if the store can't be used.
    """
    if spec.track:
        check_tracker(spec.track)
    store = Store(Path(spec.store))
    try:
        todo, halted = outstanding(plan, store)
        if not todo:
            callback.on_plan([], [job for job in plan.jobs if job.key not in halted])
            return store, RunSummary(stopped=halted)
        lab, kernel = _prepared(plan, spec, store, whole)
        with trackers(lab, callback.on_unavailable) as found:
            _say_what_is_missing(kernel, callback)
            callback.on_workers(lab.workers, lab.threads)
            summary = execute(
                plan,
                store,
                _workers(lab, store),
                *found,
                callback,
                threads=lab.threads,
                kernel=kernel,
                processes=lab.processes,
            )
            return store, summary
    finally:
        callback.on_run_end()


def check_run(plan: Plan, spec: LabSpec, store: Store) -> LabSpec:
    """Refuse what `run_plan` would refuse, without doing any job or starting a cluster or tracker.

    Returns: the laboratory with the number of workers and threads that it leaves open.
    Raises: TombolaError.
    """
    if spec.track:
        check_tracker(spec.track)
    if not outstanding(plan, store)[0]:
        return allot(spec, plan, store)
    lab, _ = _prepared(plan, spec, store)
    if lab.engine == "ray":
        from tombola.lab.run.workers.ray_cluster import check_cluster

        check_cluster(lab.ray_address)
    else:
        places(max(1, lab.workers), visible_gpus(), processes=lab.processes)
    return lab


def _prepared(
    plan: Plan, spec: LabSpec, store: Store, whole: Plan | None = None
) -> tuple[LabSpec, str]:
    """The laboratory with all its numbers, and the kernel, if results in the store have the same
    numerics."""
    lab = allot(spec, plan, store, whole)
    if lab.engine == "local":
        _refuse_unavailable(plan)
    kernel = kernel_before(plan, store)
    _refuse_mixed(plan, store, lab, kernel)
    return lab, kernel


def _refuse_unavailable(plan: Plan) -> None:
    """Refuse, before any work, recipes that this machine can't train by."""
    from tombola.training.numerics import refuse_unavailable

    for recipe in {as_training(job.spec).recipe for job in plan.jobs if job.kind == "train"}:
        refuse_unavailable(recipe)


def _say_what_is_missing(kernel: str, callback: RunCallback) -> None:
    """Say so once where the faster kernel would be taken, if it had been built."""
    from tombola.training.numerics import lacks_extension

    if kernel == AUTO and lacks_extension():
        callback.on_unavailable(
            "the C extension, which is faster: install a C compiler and reinstall tombola"
        )


@contextmanager
def weights_in_use(store: Store, keys: Collection[str]) -> Iterator[None]:
    """Keep the weights of trainings while they are made and read; delete them afterwards.

    An error leaves them, so that the same command need not train again; `store gc` finds them.
    """
    if not keys:
        yield
        return
    with store.announce(keys) as reading:
        yield
        for key in {*keys} - store.wanted(reading):
            if store.weights(key):
                store.drop_weights(key)


def _workers(spec: LabSpec, store: Store) -> Workers:
    processes = spec.processes
    if spec.engine == "ray":
        from tombola.lab.run.workers.ray_cluster import RayCluster

        return RayCluster(
            store,
            address=spec.ray_address,
            workers=spec.workers,
            threads=spec.threads,
            processes=processes,
        )
    gpus = visible_gpus()
    if spec.workers > 1:
        return ProcessPool(store, spec.workers, gpus=gpus, processes=processes)
    places(1, gpus, processes=processes)  # refuses too few GPUs
    return ThisProcess(store)


def _refuse_mixed(plan: Plan, store: Store, spec: LabSpec, kernel: str = AUTO) -> None:
    """Refuse, before any work, to add to results that were made with other numerics."""
    import torch

    from tombola.lab.store.artifacts import results
    from tombola.training.numerics import numerics

    torch.set_num_threads(spec.threads)
    trainings = [job for job in plan.jobs if job.kind == "train" and store.intact(job.key)]
    for job, result in zip(trainings, results(store, trainings), strict=True):
        recipe = replace(as_training(result.job_spec).recipe, kernel=kernel_of(job, kernel))
        now = numerics(recipe) | {"processes": spec.processes}
        if spec.engine == "ray" and result.numerics.get("device") != now["device"]:
            now |= {name: result.numerics[name] for name in OF_A_NODE if name in result.numerics}
        try:
            refuse_mixed([result.numerics, now])
        except MixedNumericsError as error:
            raise MixedNumericsError(
                f"{str(store.folder)!r} holds results of this plan made with other numerics: "
                f"{error} Use the same --threads, --processes and --kernel, or another --store."
            ) from None
