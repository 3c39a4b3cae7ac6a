"""How long it takes to plan ten thousand jobs, and what they hold: `python benchmarks/plan.py`.

Table 2 on the embedded tasks with enough seeds for ten thousand jobs: reading the
file, making the jobs with their keys, and asking which of them are ready. Nothing is trained.
"""

import dataclasses
import json
import statistics
import sys
import time
import tracemalloc
from platform import machine, processor, python_version

from tombola.base.specs import TrainSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import Task

JOBS = 10_000


def subject(task: Task, recipe: TrainSpec) -> Subject:
    """A network and a task that nobody looks at."""
    return Subject(
        model="mini",
        fingerprint="0" * 64,
        task=task,
        recipe=recipe,
        data=task.name,
        examples=2000,
        folder=None,
    )


def planned(seeds: int) -> Plan:
    """Table 2 with that number of seeds."""
    file = dataclasses.replace(read_plan("table2"), seeds=tuple(range(seeds)))
    return expand(file, subject)


def main() -> None:
    """Measure five times, and report medians."""
    seeds = -(-JOBS * 10 // len(planned(10).jobs))
    times: dict[str, list[float]] = {"planning_s": [], "first_index_s": []}
    for _ in range(5):
        began = time.perf_counter()
        plan = planned(seeds)
        made = time.perf_counter()
        plan.readers(plan.jobs[0])
        indexed = time.perf_counter()
        times["planning_s"].append(made - began)
        times["first_index_s"].append(indexed - made)
    tracemalloc.start()
    kept = planned(seeds)
    current, peak = tracemalloc.get_traced_memory()
    assert "torch" not in sys.modules
    report = {
        "jobs": len(kept.jobs),
        "cells": len(kept.cells),
        **{name: round(statistics.median(each), 3) for name, each in times.items()},
        "kept_mb": round(current / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
        "python": python_version(),
        "processor": processor() or machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
