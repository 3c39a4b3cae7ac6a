"""A job as it is sent to a worker: plain data for a pipe, a file or a cluster."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tombola.models.embedded import EMBEDDED
from tombola.plan.job import Job, Named
from tombola.tasks.task import Task

__all__ = ["Payload", "payload_for"]


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
    processes: int
    """Number of processes that share the batches of one training."""
    peers: list[str] = dataclasses.field(default_factory=list)
    """Keys of the plan's other trainings, which must have the same numerics."""

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


def payload_for(
    job: Job, *, keep_weights: bool, threads: int, processes: int, peers: Iterable[str] = ()
) -> Payload:
    """The payload for a job of a plan."""
    return Payload(
        **job.named(),
        model=job.subject.model,
        task=job.subject.task.to_json(),
        folder=job.subject.folder,
        scope=job.subject.scope,
        head=job.subject.recipe.head,
        keep_weights=keep_weights,
        threads=threads,
        processes=processes if job.kind == "train" else 1,
        peers=[key for key in peers if key != job.key] if job.kind == "train" else [],
    )
