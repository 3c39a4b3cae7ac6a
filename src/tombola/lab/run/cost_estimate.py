"""The cost of a plan: jobs, hours and disk, from measured throughput."""

import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from tombola.base.specs import WHOLE_COURSE, CourseSpec, TrainSpec
from tombola.lab.run.compute import STEP_COST, step_cost
from tombola.lab.run.engine import missing
from tombola.lab.run.payload import payload_for
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.plan.job_spec import ENCODER, PRETRAINED, PruneJobSpec, TrainJobSpec, as_training
from tombola.plan.plan import Plan

__all__ = ["CostEstimate", "GpuEstimate", "Throughput", "estimate_cost", "remaining_seconds"]

TRIAL_STEPS = 6
"""Steps of the short training that measures a throughput which the store doesn't know."""
TRIAL_EXAMPLES = 64
"""Examples that are scored after it."""


@dataclass(frozen=True)
class Throughput:
    """How fast trainings of one sort are here, and how large their network is."""

    step: float
    """Seconds of an optimizer step."""
    around: float
    """Seconds for everything else: evaluating, loading, storing."""
    backbone_size: int
    scope_size: int
    gpu_memory: int = 0
    """Bytes of a GPU's memory that one takes; 0 on a CPU."""


@dataclass(frozen=True, kw_only=True)
class GpuEstimate:
    """How many trainings of a plan share a GPU."""

    memory: int
    """Bytes that the largest of them takes for tensors."""
    size: int
    """Bytes of memory of a GPU."""
    fitting: int
    """Number of them that fit on a GPU at once."""
    gpus: int
    """Number of GPUs."""


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """The jobs of a plan, and the time and disk that they need."""

    kinds: dict[str, int]
    """Kind of job -> number of jobs."""
    stored: int
    """Jobs whose results are in the store."""
    shared: int
    """Jobs that several cells of the plan share, and that are done once."""
    seconds: float
    """Until the end, with the given number of workers; at least the longest chain of jobs."""
    disk: int
    """Bytes that stay: masks and scores."""
    weights: int
    """Bytes that are needed during the run: trained weights that later jobs read."""
    gpu: GpuEstimate | None = None
    """None without a GPU."""


def estimate_cost(plan: Plan, store: Store, *, workers: int, threads: int) -> CostEstimate:
    """The cost of what is left of a plan.

    Throughput comes from results in the store, or else from a few steps that are trained now.
    """
    todo = missing(plan, store)
    known = {r.key: r for job in plan.jobs if job.key not in todo and (r := store.read(job.key))}
    throughputs: dict[tuple[Any, ...], Throughput] = {}
    for job in plan.jobs:
        if _trains(job) and _sort(job) not in throughputs:
            throughputs[_sort(job)] = _throughput(job, plan.jobs, known, store, threads)
    seconds = dict.fromkeys(known, 0.0)
    longest: dict[str, float] = {}
    for job in plan.jobs:
        seconds[job.key] = _seconds(job, throughputs) if job.key in todo else 0.0
        before = max((longest[parent.key] for parent in job.parents.values()), default=0.0)
        longest[job.key] = before + seconds[job.key]
    size = max((throughput.scope_size for throughput in throughputs.values()), default=0)
    whole = max((throughput.backbone_size for throughput in throughputs.values()), default=0)
    masks = sum(job.kind == "prune" for job in plan.jobs if job.key in todo)
    return CostEstimate(
        kinds=_counted(_kind(job) for job in plan.jobs),
        stored=len(plan.jobs) - len(todo),
        shared=sum(count > 1 for count in _counted(c.key for c in plan.cells).values()),
        seconds=max(sum(seconds.values()) / max(workers, 1), max(longest.values(), default=0.0)),
        disk=masks * (size // 8 + 8192) + (len(todo) - masks) * 65536,
        weights=4 * whole * (max(workers, 1) + 1) if todo else 0,
        gpu=_gpu(max((each.gpu_memory for each in throughputs.values()), default=0)),
    )


def _gpu(memory: int) -> GpuEstimate | None:
    """How many trainings that take so much memory share a GPU."""
    import torch

    from tombola.lab.run.memory import fitting, gpu_size

    size = gpu_size()
    if not memory or not size:
        return None
    gpus = torch.cuda.device_count()
    return GpuEstimate(memory=memory, size=size, fitting=fitting(size, memory), gpus=gpus)


def remaining_seconds(plan: Plan, store: Store, todo: Collection[str]) -> float | None:
    """Seconds that jobs will take, one after another, at the throughput of those that are done.

    Returns: None, if that of one of them is not known yet.
    """
    known = [r for job in plan.jobs if job.key not in todo and (r := store.read(job.key))]
    alike: dict[tuple[Any, ...], list[Result]] = {}
    for result in known:
        if result.kind == "train":
            alike.setdefault(_sort(result), []).append(result)
    throughputs = {sort: _median(results) for sort, results in alike.items()}
    left = [job for job in plan.jobs if job.key in todo and _trains(job)]
    if any(_sort(job) not in throughputs for job in left):
        return None
    return sum(_seconds(job, throughputs) for job in left)


def _kind(job: Job) -> str:
    """What a table calls jobs of this kind, in the plural."""
    if job.kind == "prune":
        return "prunings"
    if job.kind == "score":
        return "scorings on dev"
    if job.kind == "interpolate":
        return "lines between trainings"
    if "mask" in job.parents:
        return "trainings under a mask"
    whole = as_training(job.spec).course == WHOLE_COURSE
    return "dense trainings" if whole else "other dense trainings"


def _counted(things: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for thing in things:
        counts[thing] = counts.get(thing, 0) + 1
    return counts


def _trains(job: Job) -> bool:
    """Whether it trains a network, for its score or for a mask."""
    return job.kind == "train" or (isinstance(job.spec, PruneJobSpec) and job.spec.trains)


def _training(job: Job | Result) -> TrainJobSpec:
    """The training that a job does; of a mask, that of the finder, without its pruning."""
    made = job.spec if isinstance(job, Job) else job.job_spec
    if not isinstance(made, PruneJobSpec):
        return as_training(made)
    assert made.data is not None
    assert made.network is not None
    of = made.data
    return TrainJobSpec(network=made.network, data=of.data, task=of.task, recipe=of.recipe)


def _sort(job: Job | Result) -> tuple[Any, ...]:
    """What the throughput of a training depends on."""
    made = _training(job)
    recipe = made.recipe
    return (
        *(made.network.model, made.data, recipe.batch_size),
        *(recipe.max_length, recipe.test_limit, recipe.precision, recipe.distill > 0),
    )


def _seconds(job: Job, throughputs: Mapping[tuple[Any, ...], Throughput]) -> float:
    if job.kind == "prune":
        cut = max((throughput.scope_size for throughput in throughputs.values()), default=0) * 1e-8
        return cut + _mask_training(job, throughputs)
    if job.kind == "score":
        return throughputs[_sort(job.parents["trained"])].around
    if job.kind == "interpolate":  # each point is scored, and then its loss taken
        return 2 * job.steps * throughputs[_sort(job.parents["left"])].around
    throughput = throughputs[_sort(job)]
    return job.steps * throughput.step + throughput.around


def _mask_training(job: Job, throughputs: Mapping[tuple[Any, ...], Throughput]) -> float:
    """Seconds of the training by which a finder makes a mask; 0 if it trains nothing."""
    if not _trains(job):
        return 0.0
    like = STEP_COST + (_training(job).recipe.distill > 0)
    return job.steps * throughputs[_sort(job)].step * step_cost(job) / like


def _throughput(
    job: Job, jobs: Iterable[Job], known: Mapping[str, Result], store: Store, threads: int
) -> Throughput:
    alike = [known[j.key] for j in jobs if j.kind == "train" and j.key in known]
    alike = [r for r in alike if r.numerics.get("threads") == threads]
    mine = [r for r in alike if _sort(r) == _sort(job)]
    if not mine:
        return _measured(job, threads)
    return _median(mine)


def _median(alike: Sequence[Result]) -> Throughput:
    """The throughput of trainings of one sort: the median of their results."""
    return Throughput(
        step=median(r.facts["training_seconds"] / r.facts["steps"] for r in alike),
        around=median(r.seconds - r.facts["training_seconds"] for r in alike),
        backbone_size=alike[0].facts["backbone_size"],
        scope_size=alike[0].facts["scope_size"],
        gpu_memory=max(r.facts.get("gpu_memory", 0) for r in alike),
    )


def _measured(job: Job, threads: int) -> Throughput:
    """The throughput of a training of a few steps, scored on a few examples."""
    from tombola.lab.run.memory import gpu_size
    from tombola.lab.run.perform import perform
    from tombola.lab.run.workspace import WorkspaceCache
    from tombola.training.predictions import predict
    from tombola.training.steps import ignore_step

    spec = _training(job).recipe
    few = replace(spec.without_teacher(), test_limit=TRIAL_EXAMPLES)
    trial = payload_for(_trial(job, few), keep_weights=False, threads=threads, processes=1)
    with tempfile.TemporaryDirectory() as scratch:
        store, workspaces = Store(Path(scratch) / "store"), WorkspaceCache()
        workspace = workspaces.of(trial)
        for examples in (workspace.training(few), workspace.test(few)):
            len(examples)
        workspace.check(trial.job_spec)  # reads all data once
        if gpu_size():  # whose kernels are loaded in the first steps
            perform(trial, Store(Path(scratch) / "first"), workspaces, ignore_step)
        began = time.monotonic()
        perform(trial, store, workspaces, ignore_step)
        taken = time.monotonic() - began
        predict(workspace.network, workspace.task, workspace.test(few))
        scoring = time.monotonic() - began - taken
        result = store.read(trial.key)
    assert result is not None
    facts = result.facts
    tested = len(workspace.test(spec)) / len(workspace.test(few))
    passes = STEP_COST + (spec.distill > 0)  # the trial has no teacher
    return Throughput(
        step=passes / STEP_COST * facts["training_seconds"] / facts["steps"],
        around=taken - facts["training_seconds"] + scoring * (tested - 1),
        backbone_size=facts["backbone_size"],
        scope_size=facts["scope_size"],
        gpu_memory=facts.get("gpu_memory", 0),
    )


def _trial(job: Job, recipe: TrainSpec) -> Job:
    """A dense training of a few steps."""
    last = min(TRIAL_STEPS, recipe.steps(job.subject.examples))
    spec = replace(
        _training(job),
        recipe=recipe,
        init=PRETRAINED,
        course=CourseSpec(last=last),
        scope=ENCODER,
    )
    return Job(spec=spec, parents={}, subject=job.subject, label="trial")
