"""Knobs of the laboratory: where results are kept, and what does the work."""

from dataclasses import dataclass

from tombola.base.errors import SpecError
from tombola.base.fields import refuse_above
from tombola.base.registry import unknown
from tombola.base.specs.spec import Spec

__all__ = ["LabSpec"]

ENGINES = ("local", "ray")
"""What can do the jobs of a plan."""

PROCESSES = 4096
"""The most workers, threads and processes."""


@dataclass(frozen=True, kw_only=True)
class LabSpec(Spec):
    """Where results are kept, and who does the work; nothing of it names a result."""

    store: str = "runs/store"
    """Folder that keeps every finished training and mask; what is there is not done again."""

    engine: str = "local"
    """Who does the jobs: local, or ray for a Ray cluster."""

    workers: int = 0
    """Jobs done at once; 0 is one on this machine, and as many as a Ray cluster has room for."""

    threads: int = 0
    """Threads of each process; 0 shares this machine's cores among the workers."""

    processes: int = 1
    """Processes that share the batches of one training (data parallel)."""

    ray_address: str = ""
    """Address of a Ray cluster that is there already; without it one is started here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        for name in ("workers", "threads"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} is zero or more, got {getattr(self, name)}.")
        for name in ("workers", "threads", "processes"):
            refuse_above(getattr(self, name), PROCESSES, name)
        if self.processes < 1:
            raise SpecError(f"processes is one or more, got {self.processes}.")
