"""The facts that a report on plans shows, finished or not, from stores and from tables of runs."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tombola.base.errors import SpecError
from tombola.lab.planfile.plan_file import PlanFile
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.models.attention_heads import attention_heads
from tombola.plan.plan import Plan
from tombola.study.masks.barriers import connectivity_lines
from tombola.study.masks.overlap_report import compare_masks, masks_of_plan
from tombola.study.report_facts.row_facts import row_facts
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.table.table import rows, texts_read
from tombola.study.verdicts.matching import OneRun
from tombola.study.verdicts.single_run import verdicts_from

__all__ = ["PlanRuns", "plan_facts", "stored", "tabled"]


@dataclass(frozen=True, kw_only=True)
class PlanRuns:
    """Runs to report on: rows, and what only a store shows."""

    rows: Sequence[Row]
    one_run: OneRun | None = None
    """Gives the verdict on a single run, over its test examples."""
    about: dict[str, Any]
    """Name, and what a store knows of the plan."""


def stored(name: str, file: PlanFile, plan: Plan, store: Store, *, command: str = "") -> PlanRuns:
    """A plan and the store with what is done of it.

    Args:
        name: the name of the plan.
        file: the plan file.
        plan: its jobs and cells.
        store: the store with the results of jobs that are done.
        command: runs the plan again.
    """
    kept = {job.key: result for job in plan.jobs if (result := store.read(job.key)) is not None}
    about = {
        "name": name,
        "about": file.about,
        "model": file.model,
        "scope": file.scope,
        "seeds": list(file.seeds),
        "tasks": _recipes(plan),
        "texts": texts_read(plan, store),
        "jobs": [_job(job.label, job.kind, job.key, kept.get(job.key)) for job in plan.jobs],
        "lines": [line.to_json() for line in connectivity_lines(plan, store)],
        "overlap": _overlap(file, plan, store),
        "command": command,
    }
    return PlanRuns(rows=rows(plan, store, name), one_run=verdicts_from(store), about=about)


def tabled(path: str | Path) -> PlanRuns:
    """A table of runs that `tombola table` wrote; it has no masks, predictions or recipes.

    Raises: SpecError, if it is not one.
    """
    return PlanRuns(rows=read_rows(path), about={"name": Path(path).name})


def plan_facts(sources: Sequence[PlanRuns]) -> dict[str, Any]:
    """The facts of one or more plans, as JSON has them.

    Returns: what `row_facts` returns of all rows, and in "sources" what is known of each source:
        its name and, for a plan in a store, model, scope, seeds, recipes, texts, jobs with their
        keys, lines, and overlaps.
    Raises: SpecError, if two sources have runs of plans with the same name.
    """
    owners: dict[str, PlanRuns] = {}
    for source in sources:
        for plan in dict.fromkeys(row.plan for row in source.rows):
            if plan in owners:
                raise SpecError(
                    f"expected plans with different names, got {plan!r} in "
                    f"{owners[plan].about['name']!r} and {source.about['name']!r}. Report on one "
                    "of them, or rename one."
                )
            owners[plan] = source
    table = [row for source in sources for row in source.rows]
    one_run = {plan: source.one_run for plan, source in owners.items() if source.one_run}
    return row_facts(table, one_run) | {"sources": [source.about for source in sources]}


def _recipes(plan: Plan) -> dict[str, dict[str, Any]]:
    """Task -> its recipe, for every task that a network is trained on."""
    subjects = {cell.target: cell.baseline.subject for cell in plan.cells}
    return {task: dataclasses.asdict(subject.recipe) for task, subject in subjects.items()}


def _job(label: str, kind: str, key: str, result: Result | None) -> dict[str, Any]:
    return {
        "label": label,
        "kind": kind,
        "key": key,
        "done": result is not None,
        "score": result.facts.get("score") if result else None,
        "diverged": result is not None and result.diverged is not None,
        "seconds": result.seconds if result else None,
        "numerics": result.numerics if result else {},
    }


def _overlap(file: PlanFile, plan: Plan, store: Store) -> dict[str, Any] | None:
    """The overlap of the masks at the plan's highest sparsity; None without two of them."""
    members = masks_of_plan(plan, store)
    return compare_masks(members, attention_heads(file.model)) if len(members) > 1 else None
