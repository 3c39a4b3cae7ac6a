"""The facts that a report on a plan shows, finished or not, from a store."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.plan_file import PlanFile
from tombola.lab.store.result_store import Result, Store
from tombola.models.attention_heads import attention_heads
from tombola.plan.plan import Plan
from tombola.study.masks.barriers import connectivity_lines
from tombola.study.masks.overlap_report import compare_masks, masks_of_plan
from tombola.study.table.grouping import NetworkRows, by_network
from tombola.study.table.row import Row
from tombola.study.table.table import rows, texts_read, together
from tombola.study.verdicts.matching import NetworkVerdict, matching
from tombola.study.verdicts.single_run import verdicts_from
from tombola.study.verdicts.transfer import transfer_matrices

__all__ = ["plan_facts"]

TESTS = ("transfer", "evaluate")
"""Names of the cells that are tickets, and not a control of one."""


def plan_facts(name: str, file: PlanFile, plan: Plan, store: Store) -> dict[str, Any]:
    """The facts of a plan, as JSON has them.

    Args:
        name: of the plan.
        file: the plan file.
        plan: its jobs and cells.
        store: with the results of jobs that are done.

    Returns: groups of cells (the seeds together), searches, lines, overlaps, and every job with
        its key, done or not.
    """
    kept = {job.key: result for job in plan.jobs if (result := store.read(job.key)) is not None}
    table = rows(plan, store, name)
    groups = _groups(table, store)
    return {
        "name": name,
        "about": file.about,
        "model": file.model,
        "scope": file.scope,
        "seeds": list(file.seeds),
        "tasks": _recipes(plan),
        "texts": texts_read(plan, store),
        "jobs": len(plan.jobs),
        "done": len(kept),
        "groups": groups,
        "searches": _searches(plan, groups),
        "lines": [line.to_json() for line in connectivity_lines(plan, store)],
        "overlap": _overlap(file, plan, store),
        "transfer": _transfer(table),
        "runs": [_run(job.label, job.kind, job.key, kept.get(job.key)) for job in plan.jobs],
    }


def _transfer(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The matrices of the transfer arms; none where numerics are mixed."""
    try:
        return [matrix.to_json() for matrix in transfer_matrices(table)]
    except SpecError:
        return []


def _recipes(plan: Plan) -> dict[str, dict[str, Any]]:
    """Task -> its recipe, for every task that a network is trained on."""
    subjects = {cell.target: cell.baseline.subject for cell in plan.cells}
    return {task: dataclasses.asdict(subject.recipe) for task, subject in subjects.items()}


def _run(label: str, kind: str, key: str, result: Result | None) -> dict[str, Any]:
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


def _groups(table: Sequence[Row], store: Store) -> list[dict[str, Any]]:
    """An entry for each network, all seeds together; for tickets with the verdict of `matching`."""
    judged: dict[NetworkRows, NetworkVerdict] = {}
    mixed = ""
    try:
        judged = {each.pair.first: each for each in matching(table, verdicts_from(store)).judged}
    except SpecError as error:
        mixed = str(error)
    return [_group(mine, judged.get(mine), mixed) for mine in by_network(table)]


def _group(mine: NetworkRows, judged: NetworkVerdict | None, mixed: str) -> dict[str, Any]:
    first, summary = mine[0], together(mine)
    verdict, why = (judged.verdict, judged.why) if judged else (None, mixed)
    there = sum(each.difference is not None for each in mine)
    if there < len(mine) and not (judged and judged.pair.diverged):
        verdict, why = None, f"{there} of {len(mine)} seeds are done"
    if (first.name not in FINDERS and first.name not in TESTS) or first.sparsity is None:
        verdict, why = None, ""
    return summary | {
        "of": first.of,
        "split": first.split,
        "trivial": next((each.trivial for each in mine if each.trivial is not None), None),
        "seeds": [each.seed for each in mine],
        "values": [each.score for each in mine],
        "dense": [each.dense for each in mine],
        "verdict": verdict.to_json() if verdict else None,
        "no_verdict": why,
        "premise": judged.pair.dense_premise if judged else None,
        "keys": [each.key for each in mine],
    }


def _searches(plan: Plan, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score against sparsity of each search on each task, as the score curve takes it."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in groups:
        if one["name"] in FINDERS and not one["of"] and one["source"] == one["target"]:
            found.setdefault((one["arm"], one["target"]), []).append(one)
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
        "finder": FINDERS[last["name"]].label,
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
    """The overlap of the masks at the plan's highest sparsity; None without two of them."""
    try:
        members = masks_of_plan(plan, store)
    except SpecError:
        return None
    return compare_masks(members, attention_heads(file.model))
