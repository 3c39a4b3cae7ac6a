"""All that is known of a plan, finished or not, from the store."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from tombola.errors import SpecError
from tombola.lab.numerics import refuse_mixed
from tombola.lab.plan import Cell, Plan
from tombola.lab.planfile import PlanFile
from tombola.lab.store import Result, Store
from tombola.study.comparison import compare
from tombola.study.comparison import of_plan as masks_of_plan
from tombola.study.evidence import verdict
from tombola.study.lines import lines
from tombola.study.table import rows
from tombola.study.transfer import transfer
from tombola.task.attention import attention_heads

__all__ = ["of_plan"]

JUDGED = ("imp", "one-shot", "transfer", "evaluate")
"""Names of the cells that are tickets, and not a control of one."""


def of_plan(name: str, file: PlanFile, plan: Plan, store: Store) -> dict[str, Any]:
    """What a report tells of a plan, as JSON has it.

    Args:
        name: what the user calls it.
        file: what stands in it.
        plan: its jobs and cells.
        store: what is done of it.

    Returns: groups of cells (the seeds together), searches, lines, overlaps, and every job with
        its key, done or not.
    """
    kept = {job.key: result for job in plan.jobs if (result := store.read(job.key)) is not None}
    groups = [_group(cells, kept, store) for cells in _together(plan.cells).values()]
    return {
        "name": name,
        "about": file.about,
        "model": file.model,
        "scope": file.scope,
        "seeds": list(file.seeds),
        "tasks": {task: _recipe(plan, task) for task in file.tasks},
        "jobs": len(plan.jobs),
        "done": len(kept),
        "groups": groups,
        "searches": _searches(plan, groups),
        "lines": [line.to_json() for line in lines(plan, store)],
        "overlap": _overlap(file, plan, store),
        "transfer": _transfer(name, plan, store),
        "runs": [_run(job.label, job.kind, job.key, kept.get(job.key)) for job in plan.jobs],
    }


def _transfer(name: str, plan: Plan, store: Store) -> list[dict[str, Any]]:
    """The matrices of the plan's transfer arms; none where numerics are mixed."""
    try:
        return [matrix.to_json() for matrix in transfer(rows(plan, store, name))]
    except SpecError:
        return []


def _recipe(plan: Plan, task: str) -> dict[str, Any]:
    subject = next(c.training.subject for c in plan.cells if c.target == task)
    return dataclasses.asdict(subject.recipe)


def _run(label: str, kind: str, key: str, result: Result | None) -> dict[str, Any]:
    return {
        "label": label,
        "kind": kind,
        "key": key,
        "done": result is not None,
        "score": result.facts.get("score") if result else None,
        "seconds": result.seconds if result else None,
        "numerics": result.numerics if result else {},
    }


def _together(cells: Sequence[Cell]) -> dict[tuple[Any, ...], list[Cell]]:
    """Cells that differ in their seed only."""
    found: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        what = (cell.arm, cell.name, cell.source, cell.target, cell.sparsity)
        found.setdefault(what, []).append(cell)
    return found


def _group(cells: Sequence[Cell], kept: dict[str, Result], store: Store) -> dict[str, Any]:
    first, task = cells[0], cells[0].training.subject.task
    pairs = [(kept.get(cell.key), kept.get(cell.dense)) for cell in cells]
    scores = [mine.facts["score"] if mine else None for mine, _ in pairs]
    dense = [yardstick.facts["score"] if yardstick else None for _, yardstick in pairs]
    known = [score for score in scores if score is not None]
    changes = [m.facts["score"] - d.facts["score"] for m, d in pairs if m and d]
    said, reason = _judged(cells, pairs, store)
    return {
        "arm": first.arm,
        "name": first.name,
        "source": first.source,
        "target": first.target,
        "sparsity": None if first.sparsity is None else f"{first.sparsity:f}",
        "of": first.of,
        "metric": task.metric,
        "split": task.test_split,
        "trivial": next((mine.facts.get("trivial") for mine, _ in pairs if mine), None),
        "seeds": [cell.seed for cell in cells],
        "values": scores,
        "dense": dense,
        "done": len(known),
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "minus_dense": statistics.fmean(changes) if changes else None,
        "verdict": said,
        "no_verdict": reason,
        "keys": [cell.key for cell in cells],
    }


def _judged(
    cells: Sequence[Cell], pairs: Sequence[tuple[Result | None, Result | None]], store: Store
) -> tuple[dict[str, Any] | None, str]:
    """The verdict on a ticket, or why there is none; neither for what is no ticket."""
    first = cells[0]
    if first.name not in JUDGED or first.sparsity is None:
        return None, ""
    done = [(mine, dense) for mine, dense in pairs if mine is not None and dense is not None]
    if len(done) < len(pairs):
        return None, f"{len(done)} of {len(pairs)} seeds are done"
    tickets, dense = [mine for mine, _ in done], [yardstick for _, yardstick in done]
    try:
        refuse_mixed([run.numerics for run in (*dense, *tickets)])
        task, fixed = first.training.subject.task, first.name == "evaluate"
        return verdict(store, task, dense, tickets, first.sparsity, fixed=fixed).to_json(), ""
    except SpecError as error:
        return None, str(error)


def _searches(plan: Plan, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score against sparsity of each imp arm on each task, as `ship.picture.draw` takes it."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for group in groups:
        if group["name"] == "imp":
            found.setdefault((group["arm"], group["target"]), []).append(group)
    model = plan.jobs[0].subject.model if plan.jobs else ""
    return [_search(arm, task, model, mine, groups) for (arm, task), mine in found.items()]


def _search(
    arm: str,
    task: str,
    model: str,
    rounds: Sequence[dict[str, Any]],
    groups: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    last = rounds[-1]
    controls = {
        group["name"]: {"values": group["values"]}
        for group in groups
        if (group["of"], group["target"], group["sparsity"]) == (arm, task, last["sparsity"])
    }
    return {
        "arm": arm,
        "task": task,
        "model": model,
        "metric": last["metric"],
        "split": last["split"],
        "dense": {"values": last["dense"]},
        "rounds": [{"sparsity": one["sparsity"], "values": one["values"]} for one in rounds],
        "controls": controls,
        "trivial": last["trivial"],
        "verdict": last["verdict"],
    }


def _overlap(file: PlanFile, plan: Plan, store: Store) -> dict[str, Any] | None:
    """Of the masks at the plan's highest sparsity, as far as there are two."""
    try:
        members = masks_of_plan(plan, store)
    except SpecError:
        return None
    return compare(members, attention_heads(file.model))
