"""A job as it is sent to a worker: plain data for a pipe, a file or a cluster."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tombola.base.specs import AUTO, KERNELS, TrainSpec
from tombola.lab.store.result import Result
from tombola.models.embedded import EMBEDDED
from tombola.plan.job import Job, Named
from tombola.plan.job_spec import JobSpec, PruneJobSpec, TrainJobSpec, as_training
from tombola.tasks.task import Task

__all__ = ["Payload", "kernel_of", "payload_for", "recipe_that_made"]


@dataclass(frozen=True, kw_only=True)
class Payload(Named):
    """A job, with what a worker needs to do it; its parents are keys in the store."""

    model: str
    """Where the network is."""
    task: str
    """The task's definition, as one line of JSON."""
    folder: str | None
    """Where the task's data are: a folder, or `hub:OWNER/NAME`; None for the package's own."""
    scope: str
    head: str = "fresh"
    """Where the weights of the task's head come from."""
    keep_weights: bool
    """Whether a later job of the plan reads the weights."""
    threads: int
    """Number of threads of each process."""
    kernel: str = AUTO
    """Arithmetic on a CPU; no part of the spec, which names the job."""
    processes: int
    """Number of processes that share the batches of one training."""
    peers: list[str] = dataclasses.field(default_factory=list)
    """Keys of the plan's other trainings, which must have the same numerics."""

    @cached_property
    def job_spec(self) -> JobSpec:
        """The spec, with the kernel in its recipe."""
        spec = super().job_spec
        if isinstance(spec, TrainJobSpec):
            return dataclasses.replace(spec, recipe=self._with_kernel(spec.recipe))
        if isinstance(spec, PruneJobSpec) and spec.data is not None:
            recipe = self._with_kernel(spec.data.recipe)
            return dataclasses.replace(spec, data=dataclasses.replace(spec.data, recipe=recipe))
        return spec

    def _with_kernel(self, recipe: TrainSpec) -> TrainSpec:
        return dataclasses.replace(recipe, kernel=self.kernel)

    def anywhere(self) -> "Payload":
        """This payload with absolute paths, for a worker in another folder."""
        task = Task.from_json(self.task)
        return dataclasses.replace(
            self,
            model=self.model if self.model in EMBEDDED else _full(self.model),
            task=dataclasses.replace(task, data=_full(task.data)).to_json(),
            folder=None if self.folder is None else _full(self.folder),
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Payload":
        """The payload that `to_json` wrote."""
        return cls(**json.loads(text))


def _full(place: str) -> str:
    """The absolute path of a file or folder; a name that is neither, as on the hub, as it is."""
    path = Path(place)
    return str(path.absolute()) if place and path.exists() else place


def kernel_of(job: Job, otherwise: str) -> str:
    """The kernel that the recipe of a job asks for, or another that it may have, or auto."""
    recipe = job.subject.recipe
    if recipe.kernel != AUTO:
        return recipe.kernel
    return otherwise if recipe.takes(otherwise) else AUTO


def recipe_that_made(trained: Result) -> TrainSpec:
    """The recipe of a training that is done, with its kernel if a recipe can ask for that."""
    recipe, kernel = as_training(trained.job_spec).recipe, trained.numerics.get("kernel")
    return dataclasses.replace(recipe, kernel=kernel) if kernel in KERNELS else recipe


def payload_for(
    job: Job,
    *,
    keep_weights: bool,
    threads: int,
    processes: int,
    kernel: str = AUTO,
    peers: Iterable[str] = (),
) -> Payload:
    """The payload for a job of a plan; the kernel holds where the job's recipe leaves it open."""
    return Payload(
        **job.named(),
        model=job.subject.model,
        task=job.subject.task.to_json(),
        folder=job.subject.folder,
        scope=job.subject.scope,
        head=job.subject.recipe.head,
        keep_weights=keep_weights,
        threads=threads,
        kernel=kernel_of(job, kernel),
        processes=processes if job.steps and job.kind != "interpolate" else 1,
        peers=[key for key in peers if key != job.key] if job.kind == "train" else [],
    )
