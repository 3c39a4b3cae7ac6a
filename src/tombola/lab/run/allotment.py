"""How many workers a plan gets on this machine, and how many threads each of them.

Threads affect the last digits, so neither depends on load, nor on how much of a plan is left.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tombola.base.specs import AUTO, KERNELS, LabSpec
from tombola.lab.run.workers.forking import is_command_line
from tombola.lab.run.workers.gpus import visible_gpus
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.plan.plan import Plan

__all__ = ["allot", "chains", "kernel_before", "memory", "memory_of_a_worker", "threads_of"]

COPIES = 6
"""Of the weights that a training holds: pre-trained, trained, gradient, AdamW's two moments, and
what is read or written of another training."""

WIDTHS, TABLES = 16, 2
"""What a layer keeps for the backward pass: numbers for each token, in widths of the network, and
numbers for each token, head and token attended to."""

FRAGMENTED = 2
"""Memory that activations take, by their size: batches of many lengths leave gaps between them."""

BASE = 1 << 30
"""Bytes that a process takes without any network."""

LIMIT = Path("/sys/fs/cgroup/memory.max")
"""The memory of a container, if it has less than the machine."""


def allot(spec: LabSpec, plan: Plan, store: Store, whole: Plan | None = None) -> LabSpec:
    """The laboratory with the number of workers and threads that it leaves open.

    A plan with results goes on with their number of threads, as far as there are cores for it; a
    cluster says itself whether it has them.
    Otherwise the command line takes a worker of one thread for each core, if the plan has a chain
    of trainings for each of them and the machine the memory; and one worker with all cores if not,
    on GPUs, and in Python, where workers would import the program that is running.

    Args:
        spec: what was asked for; 0 leaves a number open.
        plan: all jobs, including those that are done.
        store: has the results.
        whole: the plan that decides whether there are trainings enough, where this one is a part
            of it, or is followed by it with the same threads.
    """
    before = 0 if spec.threads else _threads_before(plan, store)
    if spec.engine != "local":
        return replace(spec, threads=before or threads_of(spec))
    workers = spec.workers or 1
    if before and before * workers * spec.processes > cores():
        before = 0
    spread = (
        not spec.workers and not spec.threads and before in (0, 1) and _spreads(spec, whole or plan)
    )
    if spread:
        return replace(spec, workers=cores(), threads=1)
    return replace(spec, workers=workers, threads=before or threads_of(spec))


def threads_of(spec: LabSpec) -> int:
    """Threads of each process: the number asked for, or an equal share of this machine's cores."""
    return spec.threads or max(1, cores() // (max(spec.workers, 1) * spec.processes))


@cache
def cores() -> int:
    """Number of threads that torch takes by default."""
    import torch

    return torch.get_num_threads()


def kernel_before(plan: Plan, store: Store) -> str:
    """The kernel of the trainings of a plan that are in the store, of those that leave it open;
    auto if there are none."""
    left_open = [job for job in plan.jobs if job.subject.recipe.kernel == AUTO]
    kernels = (numerics.get("kernel") for numerics in _numerics_before(left_open, store))
    return next((name for name in kernels if name in KERNELS), AUTO)


def _threads_before(plan: Plan, store: Store) -> int:
    """Threads of the trainings of a plan that are in the store; 0 if there are none."""
    threads = (numerics.get("threads", 0) for numerics in _numerics_before(plan.jobs, store))
    return next((number for number in threads if isinstance(number, int)), 0)


def _numerics_before(jobs: Iterable[Job], store: Store) -> Iterator[dict[str, Any]]:
    """The numerics of those of the jobs that are trainings in the store."""
    from tombola.lab.store.artifacts import results

    trainings = [job for job in jobs if job.kind == "train" and store.intact(job.key)]
    return (result.numerics for result in results(store, trainings))


def _spreads(spec: LabSpec, plan: Plan) -> bool:
    """Whether a plan keeps a worker of one thread on each core busy."""
    return (
        is_command_line()
        and spec.processes == 1
        and 1 < cores() <= chains(plan.jobs)
        and not visible_gpus()
        and cores() * memory_of_a_worker(plan) <= memory()
    )


def chains(jobs: Iterable[Job]) -> float:
    """How many trainings can run at once on average: all, by those in the longest chain.

    Args:
        jobs: parents come first.
    """
    depths: dict[str, int] = {}
    trainings = 0
    for job in jobs:
        own = int(job.kind == "train")
        above = (depths[parent.key] for parent in job.parents.values())
        depths[job.key] = own + max(above, default=0)
        trainings += own
    return trainings / max(1, max(depths.values(), default=0))


def memory_of_a_worker(plan: Plan) -> int:
    """Bytes that the largest training of a plan takes, about."""
    trainings = {(job.subject.model, job.subject.recipe) for job in plan.jobs}
    shapes = {
        (model, -(-recipe.batch_size // recipe.accumulation), recipe.max_length)
        for model, recipe in trainings
    }
    return BASE + 4 * max((_numbers(*shape) for shape in shapes), default=0)


@cache
def _numbers(model: str, examples: int, length: int) -> int:
    """How many numbers a training holds, about: weights, and activations of full length."""
    from tombola.models.loading import load_configuration

    config = load_configuration(model)
    width, layers, heads, vocabulary = (
        int(getattr(config, name, 0))
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    )
    weights = width * (12 * layers * width + vocabulary)
    kept = layers * examples * length * (WIDTHS * width + TABLES * heads * length)
    return COPIES * weights + FRAGMENTED * kept


def memory() -> int:
    """Bytes of memory of this machine, or of the container."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return whole
