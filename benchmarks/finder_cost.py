"""What a step of trained finders costs, next to plain training: `python benchmarks/finder_cost.py`.

The mask of each finder and a dense training of the same task, one after the other in one process,
by the processor time from their first step to their last, so that other work on the machine counts
on both sides. IMP and learning-rate rewinding train plainly. `--quick` tries the script itself.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch

from protocol import machine
from tombola.base.specs import LabSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job, dense
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

STEPS = 15
"""Of each training; the fewest with which all prune as often as they do by default."""
TRAINED = ("gradual", "movement", "soft-movement", "platon", "mask-training", "soup")
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("sentiment", {}) for name in TRAINED},
    **{f"task-agnostic {share:g}": ("mlm", {"feature_distill": share}) for share in (0.0, 0.5)},
}
"""Finder, and whatever tells its rows apart -> task and knobs."""
SPARSITY = Decimal("0.7")


class Clock(RunCallback):
    """Notes the processor time after each step of the job that is running."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """One more step is done."""
        self.times.append(time.process_time())


def subject(task: str) -> Subject:
    """A task with a short training, which tests on as little as it can."""
    recipe = load_task(task).recipe
    recipe = replace(recipe, epochs=1, train_limit=STEPS * recipe.batch_size, test_limit=2)
    subjects = SubjectFactory(Path(tempfile.gettempdir()))
    return subjects.subject("mini", load_task(task), recipe, scope="encoder", folder=None)


def seconds(job: Job) -> float:
    """Processor seconds of a step of a job, the first one left out."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as place:
        _, summary = run_plan(Plan.of([job]), LabSpec(store=place, threads=1), clock)
    for _, error in summary.failed:
        raise error
    return (clock.times[-1] - clock.times[0]) / (len(clock.times) - 1)


def cost(row: str) -> dict[str, float]:
    """Seconds of a step of a finder, and of one of a dense training."""
    (task, knobs), finder = ROWS[row], FINDERS[row.partition(" ")[0]]
    on = subject(task)
    mask = finder.search(on, finder.spec(sparsity=SPARSITY, **knobs), 0).masks[SPARSITY]
    plain, found = seconds(dense(on, 0)), seconds(mask)
    return {"plain": plain, "finder": found, "trainings": found / plain}


def main() -> None:
    """Measure every row, and report it."""
    torch.set_num_threads(1)
    rows = ["movement"] if "--quick" in sys.argv else list(ROWS)
    found = {}
    for row in rows:
        found[row] = {what: round(value, 3) for what, value in cost(row).items()}
        print(row, found[row], file=sys.stderr, flush=True)
    print(json.dumps({"steps": STEPS, "seconds": found, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
