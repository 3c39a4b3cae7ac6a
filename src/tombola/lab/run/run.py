"""A plan, a store and the machine -> a crew at work."""

from functools import cache
from pathlib import Path

from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, TrainSpec
from tombola.lab.run.engine import Crew, Report, Watch, execute, left_of
from tombola.lab.run.local_workers import Alone, Pool
from tombola.lab.store.numerics import refuse_mixed
from tombola.lab.store.store import Store
from tombola.plan.plan import Plan

__all__ = ["run", "threads_of"]


def run(plan: Plan, spec: LabSpec, watch: Watch) -> tuple[Store, Report]:
    """Do what the store lacks of a plan.

    Args:
        plan: what is wanted.
        spec: where results are kept, and who does the jobs.
        watch: told how it goes.

    Returns: the store, and how it ended.
    Raises: SpecError, if what is kept was made with other numerics; OutputError, if the store
        can't be used.
    """
    store = Store(Path(spec.store))
    todo, halted = left_of(plan, store)
    if not todo:
        watch.plan([], [job for job in plan.jobs if job.key not in halted])
        return store, Report(stopped=halted)
    threads = threads_of(spec)
    _refuse_mixed(plan, store, threads, spec.processes)
    crew = _crew(spec, store, threads)
    report = execute(plan, store, crew, watch, threads=threads, processes=spec.processes)
    return store, report


def threads_of(spec: LabSpec) -> int:
    """Threads of each process: as many as are asked for, or a share of this machine's cores."""
    return spec.threads or max(1, _cores() // (max(spec.workers, 1) * spec.processes))


@cache
def _cores() -> int:
    """Threads that torch takes when nobody has told it otherwise."""
    import torch

    return torch.get_num_threads()


def _crew(spec: LabSpec, store: Store, threads: int) -> Crew:
    if spec.engine == "ray":
        import torch

        from tombola.lab.run.ray_workers import Cluster

        return Cluster(
            store,
            address=spec.ray_address,
            workers=spec.workers,
            cores=threads * spec.processes,
            gpus=spec.processes if torch.cuda.is_available() else 0,
        )
    return Pool(store, spec.workers) if spec.workers > 1 else Alone(store)


def _refuse_mixed(plan: Plan, store: Store, threads: int, processes: int) -> None:
    """Refuse to add to results that were made with other numerics, before anything is done."""
    import torch

    from tombola.lab.store.artifacts import results
    from tombola.training.loop import numerics

    torch.set_num_threads(threads)
    trainings = [job for job in plan.jobs if job.kind == "train" and store.intact(job.key)]
    for result in results(store, trainings):
        now = numerics(TrainSpec(**result.spec["train"])) | {"processes": processes}
        try:
            refuse_mixed([result.numerics, now])
        except SpecError as error:
            raise SpecError(
                f"{str(store.folder)!r} holds results of this plan made otherwise: {error} "
                "Take the same --threads and --processes, or another --store."
            ) from None
