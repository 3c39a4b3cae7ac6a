"""Which GPUs each worker gets, and how many workers share them."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tombola.lab.run.workers.environment import variables

__all__ = ["WorkerGpus", "places", "ray_gpus", "seeing", "sharers_of_a_gpu", "visible_gpus"]

VISIBLE = "CUDA_VISIBLE_DEVICES"
RAY_PARTS = 10_000
"""Parts of a GPU that Ray counts in."""


@dataclass(frozen=True)
class WorkerGpus:
    """The GPUs of a worker."""

    gpus: tuple[str, ...] = ()
    """Their names in `CUDA_VISIBLE_DEVICES`: numbers or UUIDs; none where workers use the CPU."""
    sharers: int = 1
    """Number of workers that share them, this one included."""


def places(workers: int, gpus: Sequence[str], *, processes: int = 1) -> list[WorkerGpus]:
    """A place for each worker: round robin over the GPUs.

    Args:
        workers: number of workers.
        gpus: names of this machine's GPUs; may be none.
        processes: number of processes that share a training; each of them needs its own GPU.

    Raises: SpecError, if there are GPUs, but fewer than processes.
    """
    if not gpus:
        return [WorkerGpus()] * workers
    _refuse_too_few(processes, len(gpus))
    groups = len(gpus) // processes
    found = []
    for group in (worker % groups for worker in range(workers)):
        mine = tuple(gpus[group * processes : (group + 1) * processes])
        found.append(WorkerGpus(mine, workers // groups + (group < workers % groups)))
    return found


def _refuse_too_few(processes: int, gpus: int) -> None:
    from tombola.training.distributed import refuse_too_few_gpus

    refuse_too_few_gpus(processes, gpus)


def visible_gpus() -> list[str]:
    """This process's GPUs, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    count, setting = torch.cuda.device_count(), os.environ.get(VISIBLE)
    if setting is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in setting.split(",")][:count]


def seeing(gpus: Sequence[str]) -> AbstractContextManager[None]:
    """A context in which new processes see these GPUs only; all of them, if none is named.

    A process finds its GPUs once, so they are set before it starts.
    """
    return variables({VISIBLE: ",".join(gpus)} if gpus else {})


def sharers_of_a_gpu(workers: int, gpus: int, *, processes: int = 1) -> int:
    """How many jobs of a cluster share a GPU.

    Args:
        workers: number of jobs at once; 0 for as many as have a GPU of their own.
        gpus: those of the cluster.
        processes: the processes of a training; several have a GPU each.
    """
    return 1 if processes > 1 or not gpus else max(1, -(-workers // gpus))


def ray_gpus(workers: int, gpus: int, *, processes: int = 1) -> float:
    """The number of GPUs, or the part of one, that a job asks Ray for.

    Raises: SpecError, if there are GPUs, but fewer than processes.
    """
    if not gpus:
        return 0
    _refuse_too_few(processes, gpus)
    sharers = sharers_of_a_gpu(workers, gpus, processes=processes)
    if sharers == 1:
        return processes
    return RAY_PARTS // sharers / RAY_PARTS  # rounded up, one fewer would fit
