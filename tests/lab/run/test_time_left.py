"""Estimates of the time left, against runs on a clock of our own."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.time_left import TimeLeft, makespan
from tombola.lab.store.result import Result
from tombola.plan.controls import control
from tombola.plan.job import Job, dense, one_shot, train
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.task import load_task

HALF = Decimal("0.5")


def subject_of(name: str, characters: float, examples: int, tested: int) -> Subject:
    task = load_task(name)
    return Subject(
        model="nowhere",
        fingerprint="0" * 64,
        task=task,
        recipe=task.recipe,
        data=name,
        examples=examples,
        folder=None,
        counts={
            "train": SplitCounts(rows=examples, characters=characters),
            task.test_split: SplitCounts(rows=tested, characters=characters),
        },
    )


SHORT = subject_of("sentiment", 100, 640, 500)
LONG = subject_of("gloss-span", 400, 960, 300)


def search(subject: Subject, seed: int) -> list[Job]:
    found = FINDERS["imp"].search(subject, ImpSpec(sparsity=HALF, step=Decimal("0.25")), seed)
    controls = [
        control(name, subject, found.masks[HALF], HALF, seed) for name in ("random", "one-shot")
    ]
    return [*found.trainings.values(), *controls]


MIXED = Plan.of([job for s in (SHORT, LONG) for seed in range(3) for job in search(s, seed)])


def step_seconds(job: Job) -> float:
    """A step of the long task takes a sixth more than the lengths of its texts say."""
    return 0.2 if job.subject is SHORT else 0.88


def around_seconds(job: Job) -> float:
    if job.kind != "train":
        return 0.4
    return 5.0 if job.subject is SHORT else 9.0


@dataclass
class Rehearsal:
    """Does the jobs of a plan on a clock of its own, and tells the estimator."""

    plan: Plan
    workers: int
    now: float = 0.0
    said: list[tuple[float, float | None]] = field(default_factory=list)
    """Moments, and the seconds left as they were estimated."""

    def run(self) -> "Rehearsal":
        left = TimeLeft(lambda: self.now)
        left.on_plan([*self.plan.jobs], [])
        left.on_workers(self.workers, 1)
        waiting, events = [*self.plan.jobs], list[tuple[float, int, Callable[[], None]]]()
        undone = {job.key for job in waiting}
        busy = 0

        def end(job: Job) -> None:
            nonlocal busy
            busy -= 1
            undone.discard(job.key)
            left.on_job_end(job, result(job))

        while waiting or events:
            for job in [*waiting]:
                if busy < self.workers and not any(p.key in undone for p in job.parents.values()):
                    waiting.remove(job)
                    busy += 1
                    left.on_job_start(job)
                    begins = self.now + around_seconds(job) / 3
                    for n in range(1, job.steps + 1):
                        at = begins + n * step_seconds(job)
                        events.append((at, len(events), stepped(left, job, n)))
                    ends = begins + job.steps * step_seconds(job) + around_seconds(job) * 2 / 3
                    events.append((ends, len(events), lambda job=job: end(job)))  # type: ignore[misc]
            events.sort(key=lambda event: event[:2])
            self.now, _, happens = events.pop(0)
            happens()
            if not len(events) % 7:
                self.said.append((self.now, left.seconds()))
        return self


def stepped(left: TimeLeft, job: Job, done: int) -> Callable[[], None]:
    return lambda: left.on_job_step(job, done, job.steps, 0.5)


def result(job: Job, diverged: str | None = None) -> Result:
    facts = {"score": 50.0, **({"diverged": {"step": 3, "what": "loss"}} if diverged else {})}
    return Result(**job.named(), facts=facts, numerics={}, seconds=1.0, peak_memory=1)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_after_a_tenth_of_a_run_the_estimate_is_right_within_a_quarter(workers: int) -> None:
    rehearsal = Rehearsal(MIXED, workers).run()
    whole = rehearsal.now
    later = [(at, left) for at, left in rehearsal.said if 0.1 * whole <= at <= 0.95 * whole]
    assert len(later) > 20
    for at, left in later:
        assert left is not None
        assert abs(left - (whole - at)) <= 0.25 * (whole - at) + 1, (at, left, whole - at)


def test_nothing_is_said_before_anything_was_measured() -> None:
    left = TimeLeft(lambda: 0.0)
    left.on_plan([*MIXED.jobs], [])
    left.on_job_start(MIXED.jobs[0])
    assert left.seconds() is None
    left.on_job_step(MIXED.jobs[0], 1, 60, None)
    assert left.seconds() is None


def test_jobs_that_will_not_be_done_take_no_time() -> None:
    now = 0.0
    left = TimeLeft(lambda: now)
    first = dense(SHORT, 0)
    jobs = [first, *(job for job in MIXED.jobs if job.key != first.key)]
    left.on_plan(jobs, [])
    left.on_job_start(first)
    for done in range(1, first.steps + 1):
        now += 1.0
        left.on_job_step(first, done, first.steps, 0.5)
    before = left.seconds()
    left.on_job_error(first, "it broke")
    after = left.seconds()
    assert before is not None
    assert after is not None
    chain = [j for j in search(SHORT, 0) if j.parents.get("mask", first).follows_training]
    assert before - after >= sum(job.steps for job in chain)


def test_makespan_is_at_least_the_longest_chain() -> None:
    jobs = [*Plan.of(search(SHORT, 0)).jobs]
    seconds = {job.key: 1.0 if job.kind == "train" else 0.0 for job in jobs}
    trainings = sum(job.kind == "train" for job in jobs)
    assert makespan(jobs, seconds, (), 1) == trainings == 5
    assert makespan(jobs, seconds, (), 2) == 3  # dense, 25 %, 50 % follow one another
    assert makespan(jobs, seconds, (), 100) == 3
    running = {jobs[0].key}
    assert makespan(jobs, {**seconds, jobs[0].key: 0.5}, running, 1) == 4.5


def test_a_step_with_a_teacher_is_taken_to_cost_a_forward_pass_more() -> None:
    taught = replace(SHORT, recipe=replace(SHORT.recipe, distill=0.5))
    first = dense(taught, 0)
    ticket = train(taught, 0, "ticket", mask=one_shot(taught, HALF))
    now = 0.0
    left = TimeLeft(lambda: now)
    left.on_plan([first, ticket], [])
    left.on_job_start(first)
    for done in range(1, first.steps + 1):
        now += 0.3
        left.on_job_step(first, done, first.steps, None)
    left.on_job_end(first, result(first))
    scoring = 500 * 0.1 / taught.recipe.batch_size
    assert left.seconds() == pytest.approx(ticket.steps * 0.4 + scoring)


def test_a_task_without_counted_texts_is_taken_to_fill_its_batches() -> None:
    now = 0.0
    left = TimeLeft(lambda: now)
    short, long = dense(SHORT, 0), dense(replace(LONG, counts={}), 0)
    left.on_plan([short, long], [])
    left.on_job_start(short)
    for done in range(1, short.steps + 1):
        now += 1.0
        left.on_job_step(short, done, short.steps, 0.5)
    left.on_job_end(short, result(short))
    tokens = 2 + 100 / 4
    assert left.seconds() == pytest.approx(long.steps * LONG.recipe.max_length / tokens)


def test_a_worker_that_is_killed_goes_back_some_steps() -> None:
    now, job = 0.0, dense(SHORT, 0)
    left = TimeLeft(lambda: now)
    left.on_plan([job], [])
    left.on_job_start(job)
    for done, seconds in ((1, 9), (2, 2), (3, 2), (4, 2), (2, 40), (3, 2), (4, 2)):
        now += seconds
        left.on_job_step(job, done, job.steps, 0.5)
    assert left.seconds() == pytest.approx(2.0 * (job.steps - 4))
