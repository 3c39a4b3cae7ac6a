"""Runs what the store lacks of a plan: each job once, parents first, whoever else is at it."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from tombola.base.errors import OutputError, TombolaError
from tombola.lab.run.payload import Payload, payload_for
from tombola.lab.run.stopped_jobs import stopped
from tombola.lab.store.lease import Lease
from tombola.lab.store.result_store import Result, Store
from tombola.plan.job import Job, Subject
from tombola.plan.plan import Plan

__all__ = [
    "JobEvents",
    "RunCallback",
    "RunSummary",
    "TakenOverError",
    "Workers",
    "execute",
    "missing",
    "outstanding",
]

PAUSE = 0.2
"""Seconds between two looks at jobs that another process holds."""


class RunCallback:
    """Somebody who is told how a plan goes; this one keeps it to himself."""

    def subject(self, subject: Subject) -> None:
        """This network is trained on this task, with this recipe."""

    def plan(self, todo: list[Job], kept: list[Job]) -> None:
        """These jobs are coming, those are in the store."""

    def start(self, job: Job) -> None:
        """A job begins."""

    def step(self, job: Job, done: int, steps: int) -> None:
        """An optimizer step of it is done."""

    def finish(self, job: Job, result: Result) -> None:
        """A job has ended."""

    def fail(self, job: Job, reason: str) -> None:
        """A job has failed; what depends on it won't be done."""


class TakenOverError(Exception):
    """Ends the work on a job that another process has taken over."""


class JobEvents(Protocol):
    """What `Workers` calls while a job is done."""

    def step(self, key: str, done: int, steps: int) -> bool:
        """An optimizer step of a job is done; whether to go on, and say more of it."""

    def done(self, key: str) -> None:
        """A job's result is in the store."""

    def failed(self, key: str, error: Exception) -> None:
        """A job has failed."""


class Workers(Protocol):
    """Those who do the jobs: this process, some beside it, or a cluster."""

    @property
    def free_slots(self) -> int:
        """How many more payloads they take now."""

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Hand over a payload; it may be done when this returns, or later."""

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Wait until something is done, at most so long."""

    def close(self) -> None:
        """Send everybody home, whatever they are doing."""


@dataclass
class RunSummary:
    """How a plan ended."""

    done: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, Exception]] = field(default_factory=list)
    """Jobs that came to nothing, and why."""
    blocked: list[Job] = field(default_factory=list)
    """Jobs that were not tried, because one that they depend on has failed."""
    stopped: dict[str, Job] = field(default_factory=dict)
    """Keys of jobs that can't be done, and the training that diverged which each goes on from."""

    @property
    def counted(self) -> int:
        """Jobs that it tells of; the others of the plan were kept from before."""
        return len(self.done) + len(self.failed) + len(self.blocked) + len(self.stopped)


def missing(plan: Plan, store: Store) -> set[str]:
    """Keys of the jobs to be done: results that the store lacks or that are damaged, and trainings
    whose weights are needed again; those that go on from a training that diverged can't be done."""
    return outstanding(plan, store)[0]


def outstanding(plan: Plan, store: Store) -> tuple[set[str], dict[str, Job]]:
    """Keys of the jobs to be done, and of those that can't be, with the training that diverged."""
    todo = {job.key for job in plan.jobs if not store.intact(job.key)}
    halted = stopped(plan.jobs, store, todo)
    todo -= halted.keys()
    for job in reversed(plan.jobs):
        if job.key in todo:
            todo |= {p.key for p in job.reads_weights if store.weights(p.key) is None}
    return todo, halted


def execute(
    plan: Plan,
    store: Store,
    workers: Workers,
    callback: RunCallback,
    *,
    threads: int,
    processes: int = 1,
) -> RunSummary:
    """Do every job of a plan that the store lacks.

    Args:
        plan: what is wanted.
        store: what is there, and where results go.
        workers: who does the jobs.
        callback: told how it goes.
        threads: of each process of a job.
        processes: that share the batches of one training.

    Returns: what was done and what has failed; a failure stops only what depends on it.
    Raises: OutputError, if the disk refuses: then nothing more can be kept.
    """
    with store.announce(job.key for job in plan.jobs if plan.readers(job)) as reading:
        todo, halted = outstanding(plan, store)
        run = _Run(plan, store, callback, todo, threads, processes, reading)
        run.summary.stopped = halted
        callback.plan([j for j in plan.jobs if j.key in run.todo], run.kept())
        try:
            while run.todo:
                run.submit_ready(workers)
                if run.leases:
                    workers.wait(PAUSE, run)
                elif run.todo:
                    time.sleep(PAUSE)
        finally:
            workers.close()
            run.release()
        run.tidy()
    return run.summary


@dataclass
class _Run:
    """The state of one execution; a `JobEvents` for the workers."""

    plan: Plan
    store: Store
    callback: RunCallback
    todo: set[str]
    """Keys of the jobs that are to be done or in work."""
    threads: int
    processes: int
    reading: Lease
    """Says that this run is alive, and which weights it reads."""
    leases: dict[str, Lease] = field(default_factory=dict)
    """Of the jobs in work."""
    summary: RunSummary = field(default_factory=RunSummary)

    def __post_init__(self) -> None:
        self.by_key = {job.key: job for job in self.plan.jobs}
        self.trainings = [job.key for job in self.plan.jobs if job.kind == "train"]

    def kept(self) -> list[Job]:
        """The jobs whose results are there."""
        left = self.todo | self.summary.stopped.keys()
        return [job for job in self.plan.jobs if job.key not in left]

    def submit_ready(self, workers: Workers) -> None:
        """Submit jobs whose parents are done, as many as the workers take."""
        for job in self.plan.jobs:
            if not workers.free_slots:
                return
            if job.key in self.todo and job.key not in self.leases and self._ready(job):
                self._submit(job, workers)

    def _ready(self, job: Job) -> bool:
        return not any(parent.key in self.todo for parent in job.parents.values())

    def _submit(self, job: Job, workers: Workers) -> None:
        if self._complete(job):  # another process was faster
            self._finish(job)
            return
        lost = [p for p in job.reads_weights if self.store.weights(p.key) is None]
        if lost:  # another process has dropped what this job reads
            self.todo |= {parent.key for parent in lost}
            return
        lease = self.store.claim(job.key)
        if lease is None:
            return
        self.leases[job.key] = lease.hold()
        if self._complete(job):
            self.done(job.key)
            return
        if self.store.has(job.key) and not self.store.intact(job.key):
            self.store.remove(job.key)
        self.callback.start(job)
        payload = payload_for(
            job,
            keep_weights=bool(self._readers(job)),
            threads=self.threads,
            processes=self.processes,
            peers=self.trainings,
        )
        workers.submit(payload, self)

    def _readers(self, job: Job) -> list[Job]:
        """The jobs to come that read the weights of this one."""
        return [c for c in self.plan.readers(job) if c.key in self.todo and c.key != job.key]

    def _complete(self, job: Job) -> bool:
        if not self.store.intact(job.key):
            return False
        lost = bool(self._readers(job)) and self.store.weights(job.key) is None
        return not lost or self._diverged(job)

    def _diverged(self, job: Job) -> bool:
        result = self.store.read(job.key)
        return result is not None and result.diverged is not None

    def step(self, key: str, done: int, steps: int) -> bool:
        lease = self.leases[key]
        lease.beat({"done": done, "steps": steps})
        if lease.lost:  # this process was silent too long; the job stays in todo until they end it
            self.leases.pop(key).release()
            return False
        self.callback.step(self.by_key[key], done, steps)
        return True

    def done(self, key: str) -> None:
        self.leases.pop(key).release()
        self._finish(self.by_key[key])

    def _finish(self, job: Job) -> None:
        result = self.store.read(job.key)
        if result is None:
            raise OutputError(f"expected the result of {job.label} in the store, got none.")
        self.todo.discard(job.key)
        self.summary.done.append(job)
        if result.diverged:
            self.summary.stopped |= stopped(self.plan.jobs, self.store, self.todo)
            self.todo -= self.summary.stopped.keys()
        for parent in (*job.reads_weights, job):
            if parent.kind == "train" and not self._readers(parent):
                self._drop_weights(parent)
        self.callback.finish(job, result)

    def _drop_weights(self, job: Job) -> None:
        """Remove the weights of a training, unless another run reads them."""
        if self.store.weights(job.key) and job.key not in self.store.wanted(self.reading):
            self.store.drop_weights(job.key)

    def tidy(self) -> None:
        """Remove the weights that were left for other runs, which may have ended meanwhile."""
        for job in self.plan.jobs:
            readers = self.plan.readers(job) if self.store.weights(job.key) else ()
            if readers and not any(self._to_come(reader) for reader in readers):
                self._drop_weights(job)

    def _to_come(self, job: Job) -> bool:
        return job.key not in self.summary.stopped and not self.store.intact(job.key)

    def failed(self, key: str, error: Exception) -> None:
        self.leases.pop(key).release()
        if isinstance(error, OutputError):
            raise error
        job = self.by_key[key]
        self.summary.failed.append((job, error))
        blocked = self._descendants(key)
        self.summary.blocked += [j for j in self.plan.jobs if j.key in blocked & self.todo]
        self.todo -= {key, *blocked}
        self.callback.fail(job, _reason(error))

    def _descendants(self, key: str) -> set[str]:
        found = {key}
        for job in self.plan.jobs:
            if any(parent.key in found for parent in job.parents.values()):
                found.add(job.key)
        return found - {key}

    def release(self) -> None:
        """Let go of what is in work, so that somebody else can take it up."""
        for lease in self.leases.values():
            lease.release()
        self.leases.clear()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TombolaError) else f"{type(error).__name__}: {error}"
