"""Runs the jobs of a plan that the store lacks, parents first, each in one process only."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tombola.base.errors import OutputError, TombolaError
from tombola.base.specs import AUTO
from tombola.lab.run.payload import Payload, payload_for
from tombola.lab.run.stopped_jobs import stopped
from tombola.lab.store.lease import Lease
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject

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
"""Seconds between two checks of jobs that other processes hold."""


class RunCallback:
    """What `find`, `evaluate` and `train` call as their jobs run: trainings, masks, scores.

    These methods do nothing; override those that you need. An exception in one ends the run, which
    the same call resumes.
    """

    def on_subject(self, subject: Subject) -> None:
        """Called first, with the network, the task and the recipe of an experiment."""

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        """Called with the jobs to be done, and those whose results are in the store already."""

    def on_workers(self, number: int, threads: int) -> None:
        """Called with the number of workers, if there is anything to do, and threads of each."""

    def on_unavailable(self, what: str) -> None:
        """Called with a part that the run does without: one that isn't installed, or failed."""

    def on_job_start(self, job: Job) -> None:
        """Called when a job starts."""

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """Called after an optimizer step of a job, with the loss of the last batch that was read
        from the device, if there is one."""

    def on_job_end(self, job: Job, result: Result) -> None:
        """Called when the result of a job is in the store."""

    def on_job_error(self, job: Job, reason: str) -> None:
        """Called when a job has failed; the jobs that depend on it won't be done."""

    def on_run_end(self) -> None:
        """Called last, even if an exception ends the run."""


class TakenOverError(Exception):
    """Raised to abandon a job that another process has taken over."""


class JobEvents(Protocol):
    """Events of a job, reported by `Workers` to the engine."""

    def step(self, key: str, done: int, steps: int, loss: float | None = None) -> bool:
        """Report an optimizer step of a job, and the loss of a batch.

        Returns: whether to go on with the job.
        """

    def done(self, key: str) -> None:
        """Report that the result of a job is in the store."""

    def failed(self, key: str, error: Exception) -> None:
        """Report that a job has failed."""


class Workers(Protocol):
    """What does the jobs: this process, a pool of processes, or a cluster."""

    @property
    def free_slots(self) -> int:
        """How many more payloads can be submitted now."""

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Submit a payload; its job may end before this returns, or later."""

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Wait for an event, for at most that many seconds."""

    def close(self) -> None:
        """End all workers, including those that have a job."""


@dataclass
class RunSummary:
    """The outcome of a plan: which jobs were done, failed, or were not tried."""

    done: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, Exception]] = field(default_factory=list)
    """Jobs that failed, and the errors."""
    blocked: list[Job] = field(default_factory=list)
    """Jobs that were not tried, because a job that they depend on failed."""
    stopped: dict[str, Job] = field(default_factory=dict)
    """Keys of jobs that can't be done -> the diverged training whose weights or mask they need."""

    @property
    def counted(self) -> int:
        """Number of jobs in this summary; the others of the plan had results from before."""
        return len(self.done) + len(self.failed) + len(self.blocked) + len(self.stopped)


def missing(plan: Plan, store: Store) -> set[str]:
    """Keys of the jobs to be done: those whose results are missing or damaged, and trainings whose
    weights are needed again; without jobs that need the weights or the mask of a diverged
    training."""
    return outstanding(plan, store)[0]


def outstanding(plan: Plan, store: Store) -> tuple[set[str], dict[str, Job]]:
    """Keys of the jobs to be done; and keys of those that can't be -> the diverged training."""
    todo = {job.key for job in plan.jobs if not store.intact(job.key)}
    halted = stopped(plan.jobs, store, todo)
    todo -= halted.keys()
    todo |= {key for key in plan.kept - halted.keys() if _lacks_weights(key, store)}
    for job in reversed(plan.jobs):
        if job.key in todo:
            todo |= {p.key for p in job.reads_weights if store.weights(p.key) is None}
    return todo, halted


def _lacks_weights(key: str, store: Store) -> bool:
    """Whether the weights of a training are gone; one that diverged has none."""
    result = store.read(key)
    return store.weights(key) is None and (result is None or result.diverged is None)


def execute(
    plan: Plan,
    store: Store,
    workers: Workers,
    *callbacks: RunCallback,
    threads: int,
    kernel: str = AUTO,
    processes: int = 1,
) -> RunSummary:
    """Do every job of a plan that the store lacks.

    Args:
        plan: the jobs.
        store: has the results that exist, and gets the new ones.
        workers: what does the jobs.
        callbacks: called in turn with the progress.
        threads: number of threads of each process.
        kernel: arithmetic on a CPU, where a recipe leaves it open.
        processes: number of processes that share the batches of one training.

    Returns: what was done and what failed; a failure stops only the jobs that depend on it.
    Raises: OutputError, for an error of the disk, because then no result can be saved.
    """
    read = (job.key for job in plan.jobs if plan.readers(job) or job.key in plan.kept)
    with store.announce(read) as reading:
        todo, halted = outstanding(plan, store)
        run = _Run(plan, store, callbacks, todo, threads, kernel, processes, reading)
        run.summary.stopped = halted
        for callback in callbacks:
            callback.on_plan([j for j in plan.jobs if j.key in run.todo], run.kept())
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
    callbacks: Sequence[RunCallback]
    todo: set[str]
    """Keys of the jobs that are waiting or in progress."""
    threads: int
    kernel: str
    processes: int
    reading: Lease
    """The lease of this run, which says which weights it reads."""
    leases: dict[str, Lease] = field(default_factory=dict)
    """Key -> lease, of the jobs in progress."""
    summary: RunSummary = field(default_factory=RunSummary)

    def __post_init__(self) -> None:
        self.by_key = {job.key: job for job in self.plan.jobs}
        self.trainings = [job.key for job in self.plan.jobs if job.kind == "train"]

    def kept(self) -> list[Job]:
        """The jobs whose results are in the store."""
        left = self.todo | self.summary.stopped.keys()
        return [job for job in self.plan.jobs if job.key not in left]

    def submit_ready(self, workers: Workers) -> None:
        """Submit jobs whose parents are done, until no worker is free."""
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
        if lost:  # another process has deleted what this job reads
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
        for callback in self.callbacks:
            callback.on_job_start(job)
        payload = payload_for(
            job,
            keep_weights=self._read_later(job),
            threads=self.threads,
            kernel=self.kernel,
            processes=self.processes,
            peers=self.trainings,
        )
        workers.submit(payload, self)

    def _readers(self, job: Job) -> list[Job]:
        """The jobs still to be done that read the weights of this one."""
        return [c for c in self.plan.readers(job) if c.key in self.todo and c.key != job.key]

    def _read_later(self, job: Job) -> bool:
        """Whether the weights of a job are read after it."""
        return job.key in self.plan.kept or bool(self._readers(job))

    def _complete(self, job: Job) -> bool:
        if not self.store.intact(job.key):
            return False
        return not self._read_later(job) or not _lacks_weights(job.key, self.store)

    def step(self, key: str, done: int, steps: int, loss: float | None = None) -> bool:
        lease = self.leases[key]
        lease.beat({"done": done, "steps": steps, "loss": loss})
        if lease.lost:  # it stays in todo until the process that took it over has ended it
            self.leases.pop(key).release()
            return False
        for callback in self.callbacks:
            callback.on_job_step(self.by_key[key], done, steps, loss)
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
            if parent.kind == "train" and not self._read_later(parent):
                self._drop_weights(parent)
        for callback in self.callbacks:
            callback.on_job_end(job, result)

    def _drop_weights(self, job: Job) -> None:
        """Delete the weights of a training, unless another run reads them."""
        if self.store.weights(job.key) and job.key not in self.store.wanted(self.reading):
            self.store.drop_weights(job.key)

    def tidy(self) -> None:
        """Delete the weights that were left for other runs, if those have ended by now."""
        for job in self.plan.jobs:
            if job.key in self.plan.kept:
                continue
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
        for callback in self.callbacks:
            callback.on_job_error(job, _reason(error))

    def _descendants(self, key: str) -> set[str]:
        found = {key}
        for job in self.plan.jobs:
            if any(parent.key in found for parent in job.parents.values()):
                found.add(job.key)
        return found - {key}

    def release(self) -> None:
        """Release the leases of the jobs in progress, so that other processes can do them."""
        for lease in self.leases.values():
            lease.release()
        self.leases.clear()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TombolaError) else f"{type(error).__name__}: {error}"
