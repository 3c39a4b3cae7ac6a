"""Knobs of the laboratory: where results are kept, and what runs the jobs."""

import os
from dataclasses import dataclass

from tombola.base.errors import SpecError
from tombola.base.fields import refuse_above
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec

__all__ = ["LabSpec"]

ENGINES = ("local", "ray")
"""What can run the jobs of a plan."""

PROCESSES = 4096
"""The largest number of workers, threads or processes."""


@dataclass(frozen=True, kw_only=True)
class LabSpec(Spec):
    """Where results are kept, and what runs the jobs; no part of any key."""

    store: str = "runs/store"
    """Folder of every finished training and mask; what it has is not computed again."""

    engine: str = "local"
    """What runs the jobs: local, or ray for a Ray cluster."""

    workers: int = 0
    """Jobs run at once, sharing the GPUs; 0 decides: as many as fit on a Ray cluster; on the
    command line without a GPU one for each core, if the plan has as many independent trainings and
    the machine has the memory for them; otherwise one."""

    threads: int = 0
    """Threads of each process; 0 uses the number that the plan's results in the store have, or
    else divides this machine's cores among the workers."""

    processes: int = 1
    """Processes that share the batches of one training (data parallel); each uses a GPU of its own
    if there are any."""

    ray_address: str = ""
    """Address of a running Ray cluster; without it one is started here."""

    track: str = ""
    """Where loss and scores are sent during the run: tensorboard, trackio, wandb, mlflow or another
    tracker of accelerate whose package is installed."""

    track_dir: str = "runs/tracking"
    """Folder for trackers that write files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.ray_address and self.engine != "ray":
            raise SpecError(
                f"--ray-address is for --engine ray, got --engine {self.engine}. Leave one out."
            )
        for name in ("store", "track_dir"):
            object.__setattr__(self, name, os.path.expanduser(getattr(self, name)))
        for name in ("workers", "threads"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        for name in ("workers", "threads", "processes"):
            refuse_above(getattr(self, name), PROCESSES, name)
        if self.processes < 1:
            raise SpecError(f"processes must be 1 or more, got {self.processes}.")
