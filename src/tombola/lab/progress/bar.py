"""The progress of a run, as it goes on."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

from tombola.base.rounding import duration, percent
from tombola.base.text import counted, printable
from tombola.lab.progress.screen import Screen, say, styled
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.time_left import TimeLeft
from tombola.lab.store.result import Result
from tombola.plan.job import Job
from tombola.plan.subject import Subject

__all__ = ["ProgressBar", "recipe_line"]


LABEL = 36
"""Width of the label next to a progress bar, in columns."""
LINE, LOOK = 60, 2
"""Seconds between two lines of progress, and between two looks at time and memory."""


class ProgressBar(RunCallback):
    """Shows the progress of `find`, `evaluate` or `train`: a line for each training that ends, and
    the one in progress.

        found = tombola.find(task="sentiment", callback=tombola.ProgressBar())

    In a terminal that is a bar below the lines, elsewhere one line a minute.

    Args:
        console: a console of rich; by default one on standard error.
        clock: gives the time in seconds.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or Screen(stderr=True)
        self.clock = clock
        self.left = TimeLeft(clock)
        width = self.console.width
        parts = _parts(width, self._now)
        self.bar = Progress(*parts, console=self.console, transient=True)
        self.task = self.bar.add_task("", start=False, visible=False, jobs=0, number=0)
        self.done: dict[str, int] = {}
        """Key of each job that has started -> steps done."""
        self.total = self.jobs = 0
        """Steps and jobs to be done."""
        self.said = self.looked = float("-inf")
        """When the last line was printed, and when time and memory were last looked at."""
        self.until: float | None = None
        """When all jobs will be done, by the last look."""
        self.facts = ""
        """The last loss, and the memory, at the last look."""

    def on_subject(self, subject: Subject) -> None:
        """Show the recipe of a task."""
        self.console.print(recipe_line(subject), soft_wrap=True)

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        """Show the bar."""
        self.left.on_plan(todo, done)
        if done:
            trainings = sum(job.kind == "train" for job in done)
            say(self.console, f"  reused from the store: {counted(trainings, 'training')}")
        if todo:
            self.total, self.jobs = sum(_share(job) for job in todo), len(todo)
            self.said = self.clock()
            self.bar.update(self.task, total=self.total, jobs=self.jobs, visible=True)
            self.bar.start_task(self.task)
            if self.console.is_terminal:
                self.bar.start()

    def on_workers(self, number: int, threads: int) -> None:
        """Show how many there are, where the jobs run in several."""
        self.left.on_workers(number, threads)
        if number > 1:
            each = f"{counted(threads, 'thread')} each"
            say(self.console, f"  {number} workers, {each}")

    def on_unavailable(self, what: str) -> None:
        """Show what the run does without."""
        say(self.console, f"  without {what}")

    def on_job_start(self, job: Job) -> None:
        """Show the label of the job that is running."""
        self.left.on_job_start(job)
        self.done.setdefault(job.key, 0)
        self._describe(job.label)

    def _describe(self, label: str, after: str = "") -> None:
        room = LABEL - len(after)
        short = label if len(label) <= room else f"{label[: room - 3]}..."
        self.bar.update(self.task, description=printable(short + after), number=len(self.done))

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """Advance the bar, or print a line if the last one was a minute ago; of a job that takes no
        optimizer steps, say how far it is."""
        self.left.on_job_step(job, done, steps, loss)
        if job.steps:
            self._move(job, done)
            if job.kind == "train" and done == job.steps:
                self._describe(job.label, ", scoring")
        else:
            self._describe(job.label, f" {done / steps:.0%}")
        if self.console.is_terminal:
            if self.clock() - self.looked >= LOOK:
                self._look(loss)
        elif self.clock() - self.said >= LINE:
            self.said = self.clock()
            self._look(loss)
            share = percent(sum(self.done.values()) / self.total, digits=0)
            at = f"{share}, job {len(self.done)} of {self.jobs}, {self._now()}"
            say(self.console, f"  {at}; {job.label}: step {done} of {steps}")

    def _look(self, loss: float | None) -> None:
        """Look at time, loss and memory."""
        self.looked = self.clock()
        self._estimate()
        parts = ("" if loss is None else f"loss {loss:.3f}", f"{_memory() / 1e9:.1f} GB")
        self.facts = ", ".join(filter(None, parts))

    def _estimate(self) -> None:
        seconds = self.left.seconds()
        self.until = None if seconds is None else self.clock() + seconds

    def _now(self) -> str:
        """The time left, which runs down between two looks, the last loss, and the memory."""
        left = 0.0 if self.until is None else self.until - self.clock()
        return ", ".join(filter(None, (f"{duration(left)} left" if left > 0 else "", self.facts)))

    def _move(self, job: Job, done: int) -> None:
        self.bar.advance(self.task, done - self.done.get(job.key, 0))
        self.done[job.key] = done

    def on_job_end(self, job: Job, result: Result) -> None:
        """Show the score of a training, or that a mask's training diverged."""
        self.left.on_job_end(job, result)
        self._move(job, _share(job))
        self._estimate()
        if job.kind == "train" or result.diverged:
            say(self.console, f"  {job.label:44} {_ended(result)}")

    def on_job_error(self, job: Job, reason: str) -> None:
        """Show which job failed, and why."""
        self.left.on_job_error(job, reason)
        self._estimate()
        say(self.console, (f"  {job.label}: {reason}", "red"))

    def on_run_end(self) -> None:
        """Take the bar away."""
        if self.bar.live.is_started:
            self.bar.stop()


class _Changing(ProgressColumn):
    """A text that is made anew each time that the bar is drawn."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self.text = text

    def render(self, task: Task) -> Text:
        return styled(self.text())


def _parts(width: int, now: Callable[[], str]) -> list[ProgressColumn]:
    """The parts of a progress bar that fit into a window; the last says how things are now."""
    label = TextColumn(f"{{task.description:{LABEL}}}", markup=False)
    text = TextColumn("job {task.fields[number]} of {task.fields[jobs]}", markup=False)
    counts = [TaskProgressColumn(), text, _Changing(now)]
    if width >= 120:
        return [label, BarColumn(bar_width=26), *counts]
    return [label, *counts] if width >= 95 else [*counts]


def _memory() -> int:
    """Resident memory of this process and of all that it has started, in bytes."""
    from tombola.lab.run.memory import resident_memory

    return resident_memory()


def _ended(result: Result) -> str:
    """The score of a training, or the reason that it has none; nor has a mask."""
    score = result.facts.get("score")
    return str(result.diverged or "diverged") if score is None else f"{score:6.2f}"


def recipe_line(subject: Subject) -> str:
    """One line about how a task is trained: learning rate, steps, batch size, length."""
    spec, steps = subject.recipe, subject.steps
    epochs = f"{spec.epochs:g} epoch{'' if spec.epochs == 1 else 's'}, "
    if steps == spec.min_steps:
        used = min(subject.examples, spec.train_limit or subject.examples)
        epochs = f"{steps * spec.batch_size / used:.3g} epochs, for "
    return (
        f"recipe of {subject.task.name}: learning rate {spec.learning_rate:g}, {epochs}"
        f"{counted(steps, 'step')} of {spec.batch_size}, up to {spec.max_length} tokens"
    )


def _share(job: Job) -> int:
    """The length of a job on the bar: its optimizer steps, or one."""
    return max(1, job.steps)
