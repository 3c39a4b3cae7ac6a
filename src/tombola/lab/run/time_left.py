"""How long the rest of a run will take, estimated from what it has done so far.

A kind of training that has not begun is assumed to be as fast per token as the others were; the
tokens of its batches are estimated from the lengths of its texts.
"""

import heapq
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tombola.lab.run.compute import step_cost
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result import Result
from tombola.plan.job import Job
from tombola.plan.job_spec import PruneJobSpec
from tombola.plan.subject import Subject

__all__ = ["TimeLeft", "makespan"]

CHARACTERS = 4
"""Approximate number of characters in a token."""
SPECIAL = 2
"""Approximate number of special tokens in a text."""


@dataclass(frozen=True)
class _Work:
    """The kind of a job, and its work in forward passes of one token; equal ones take as long."""

    kind: str
    scores: str
    """The scores that a mask is made from; empty for other jobs."""
    task: str
    network: str
    step: float
    """Work of one step."""
    around: float
    """Work around the steps: the scoring."""

    @classmethod
    def of(cls, job: Job) -> "_Work":
        """The work of a job."""
        subject, spec = job.subject, job.spec
        length = _length(subject)
        scored = _rows(subject) * length * (job.kind in ("train", "score"))
        step = subject.recipe.batch_size * length * step_cost(job)
        return cls(
            kind=job.kind,
            scores=spec.scores if isinstance(spec, PruneJobSpec) else "",
            task=subject.task.name,
            network=subject.fingerprint,
            step=2 * _rows(subject) * length if job.kind == "interpolate" else step,
            around=scored,
        )


def _rows(subject: Subject) -> int:
    """Rows of the test split that are scored; 0 if their number is unknown."""
    counts = subject.counts.get(subject.task.test_split)
    rows = counts.rows if counts else 0
    return min(rows, subject.recipe.test_limit or rows)


def _length(subject: Subject) -> float:
    """Approximate mean number of tokens of an example."""
    longest, counts = subject.recipe.max_length, subject.counts.get("train")
    if counts is None or not counts.characters or subject.recipe.blocks:
        return longest
    return min(longest, SPECIAL + counts.characters / CHARACTERS)


@dataclass
class _Speed:
    """Measured times of jobs of one kind."""

    steps: int = 0
    seconds: float = 0.0
    """Time of those steps."""
    around: list[float] = field(default_factory=list)
    """Seconds of each finished job besides its steps: loading, scoring, storing."""


@dataclass
class _Running:
    """A job in progress."""

    began: float
    stepped: float | None = None
    """Time of its last step."""
    done: int = 0
    counted: int = 0
    """Steps whose time was measured: all but the first, which has loading before it."""
    seconds: float = 0.0
    """Time of those."""


class TimeLeft(RunCallback):
    """Estimates how long the rest of a run takes, from its progress; a callback of the run.

    Args:
        clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._todo: dict[str, Job] = {}
        self._running: dict[str, _Running] = {}
        self._speeds: dict[_Work, _Speed] = {}
        self._workers = 1

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        """Set the jobs to be done."""
        self._todo = {job.key: job for job in todo}

    def on_workers(self, number: int, threads: int) -> None:
        """Set the number of workers; a cluster has as many as are seen working."""
        self._workers = max(1, number)

    def on_job_start(self, job: Job) -> None:
        """Start the clock of a job."""
        self._running[job.key] = _Running(self._clock())
        self._workers = max(self._workers, len(self._running))

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """Time a step of a job whose number of steps is known beforehand; one whose worker was
        killed goes on from fewer steps."""
        if not job.steps:
            return
        now, running = self._clock(), self._running[job.key]
        if running.stepped is not None and done > running.done:
            seconds, count = now - running.stepped, done - running.done
            speed = self._speed(job)
            speed.steps, speed.seconds = speed.steps + count, speed.seconds + seconds
            running.counted, running.seconds = running.counted + count, running.seconds + seconds
        running.stepped, running.done = now, done

    def on_job_end(self, job: Job, result: Result) -> None:
        """Record the time that a job took besides its steps."""
        self._todo.pop(job.key, None)
        running = self._running.pop(job.key, None)
        if running:  # not done by another process
            whole = self._clock() - running.began
            first = running.seconds / running.counted if running.counted else 0.0
            self._speed(job).around.append(max(0.0, whole - running.seconds - first))
        if result.diverged:
            self._leave_out(job)

    def on_job_error(self, job: Job, reason: str) -> None:
        """Leave out a job that failed, and those that need it."""
        self._running.pop(job.key, None)
        self._leave_out(job)

    def _leave_out(self, job: Job) -> None:
        lost = {job.key}
        for other in [*self._todo.values()]:
            if other.key in lost or any(p.key in lost for p in other.parents.values()):
                lost.add(other.key)
                del self._todo[other.key]

    def seconds(self) -> float | None:
        """Seconds until the last job is done; None before anything was measured."""
        if not any(speed.steps or speed.around for speed in self._speeds.values()):
            return None
        rate = self._rate()
        kinds = {job.kind for job in self._todo.values()}
        overheads = {kind: self._overhead(kind, rate) for kind in kinds}
        left = {key: self._left(job, rate, overheads[job.kind]) for key, job in self._todo.items()}
        return makespan([*self._todo.values()], left, self._running.keys(), self._workers)

    def _speed(self, job: Job) -> _Speed:
        return self._speeds.setdefault(_Work.of(job), _Speed())

    def _rate(self) -> float:
        """Seconds of a forward pass of one token, over all steps so far."""
        passes = sum(speed.steps * work.step for work, speed in self._speeds.items())
        return sum(s.seconds for s in self._speeds.values()) / passes if passes else 0.0

    def _overhead(self, kind: str, rate: float) -> float:
        """Seconds of a job of this kind that are neither steps nor scoring, such as loading."""
        found = [
            max(0.0, median(speed.around) - rate * work.around)
            for work, speed in self._speeds.items()
            if work.kind == kind and speed.around
        ]
        return median(found) if found else 0.0

    def _left(self, job: Job, rate: float, overhead: float) -> float:
        """Seconds that a job will still take on its worker."""
        work = _Work.of(job)
        speed = self._speeds.get(work, _Speed())
        step = speed.seconds / speed.steps if speed.steps else rate * work.step
        around = median(speed.around) if speed.around else overhead + rate * work.around
        running = self._running.get(job.key)
        if running is None:
            return job.steps * step + around
        begun = self._clock() - running.began - running.seconds
        return max(0, job.steps - running.done) * step + max(0.0, around - begun)


def makespan(
    jobs: Sequence[Job], seconds: Mapping[str, float], running: Collection[str], workers: int
) -> float:
    """Seconds until all jobs are done.

    Args:
        jobs: the jobs in the order in which workers take them, as soon as their parents are done.
        seconds: key -> how long a job takes, from now on.
        running: keys of those that have been started.
        workers: how many jobs are done at once.
    """
    waits = {job.key: {p.key for p in job.parents.values()} & seconds.keys() for job in jobs}
    children: dict[str, list[int]] = {}
    for place, job in enumerate(jobs):
        for parent in waits[job.key]:
            children.setdefault(parent, []).append(place)
    at_work = [(seconds[key], key) for key in running if key in seconds]
    heapq.heapify(at_work)
    ready = [n for n, job in enumerate(jobs) if job.key not in running and not waits[job.key]]
    now = 0.0
    while at_work or ready:
        while ready and len(at_work) < workers:
            key = jobs[heapq.heappop(ready)].key
            heapq.heappush(at_work, (now + seconds[key], key))
        now, ended = heapq.heappop(at_work)
        for place in children.get(ended, ()):
            waits[jobs[place].key].discard(ended)
            if not waits[jobs[place].key]:
                heapq.heappush(ready, place)
    return now
