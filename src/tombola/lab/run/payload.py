"""A job as a worker gets it: plain data that goes through a pipe, a file or a cluster."""

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
    """What is to be done, and with how much of the machine; parents are names in the store."""

    model: str
    """Where the network is."""
    task: str
    """The task's definition, as one line of JSON."""
    folder: str | None
    """Where the task's data are: a folder, or `hub:OWNER/NAME`; None for the package's own."""
    scope: str
    head: str = "fresh"
    """What the task's head starts from."""
    keep_weights: bool
    """Whether a later job of the plan reads the weights."""
    threads: int
    """Of each process."""
    processes: int
    """That share the batches of one training."""
    peers: list[str] = dataclasses.field(default_factory=list)
    """The plan's other trainings, which must have the same numerics."""

    def anywhere(self) -> "Payload":
        """The same with full paths, for a worker that is in another folder."""
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
        """What `to_json` wrote."""
        return cls(**json.loads(text))


def _full(place: str) -> str:
    """A path that is there, from the root; what is none, as a name on the hub, stays."""
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
