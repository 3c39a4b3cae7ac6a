"""What the rows of plans show, from a store or from a table: no network or mask is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.finders.finder import FINDERS
from tombola.lab.store.numerics import MixedNumericsError
from tombola.study.claims.claim import Claim
from tombola.study.claims.claims import decide_claims
from tombola.study.leaderboard.board import boards_of
from tombola.study.report_facts.answers import answers
from tombola.study.report_facts.run_list import RunList
from tombola.study.table.grouping import NetworkRows, by_network, by_plan
from tombola.study.table.row import Row
from tombola.study.table.table import together
from tombola.study.verdicts.matching import Matching, NetworkVerdict, OneRun, matching
from tombola.study.verdicts.transfer import MeanDifference, TransferMatrix, transfer_matrices

__all__ = ["row_facts"]


def row_facts(table: Sequence[Row], one_run: Mapping[str, OneRun]) -> dict[str, Any]:
    """What rows show, as JSON has it; each plan is judged by itself.

    Args:
        table: the rows of one or more plans, done or not.
        one_run: plan -> what gives a verdict on a single run; plans without it have none.

    Returns: rows and how many are missing, runs, answers (verdicts in words), groups (the seeds of
        a network together), searches, boards of finders, transfer
        matrices, claims, and notes on what can't be told.
    """
    runs = RunList(table)
    judged, notes = dict[str, Matching](), list[str]()
    groups = list[dict[str, Any]]()
    for plan, rows in by_plan(table).items():
        found, mixed = _matching(rows, one_run.get(plan))
        judged |= {plan: found} if found else {}
        notes += [f"Plan {plan} is not judged: {mixed}"] if mixed else []
        groups += _groups(rows, found, mixed, runs)
    claims, why = _claims(table, runs)
    return {
        "plans": list(by_plan(table)),
        "rows": len(table),
        "missing": sum(row.state == "missing" for row in table),
        "runs": runs.to_json(),
        "answers": answers([*judged.values()], claims, runs),
        "notes": [*notes, *([f"The claims are not decided: {why}"] if why and not notes else [])],
        "groups": groups,
        "searches": _searches(groups),
        "leaderboard": [board for found in judged.values() for board in _boards(found, runs)],
        "transfer": [each for rows in by_plan(table).values() for each in _transfer(rows, runs)],
        "claims": [claim.to_json() | {"places": places} for claim, places in claims],
    }


def _matching(rows: Sequence[Row], one_run: OneRun | None) -> tuple[Matching | None, str]:
    """The verdicts on a plan, or why there are none."""
    try:
        return matching(rows, one_run), ""
    except MixedNumericsError as error:
        return None, str(error)


def _claims(table: Sequence[Row], runs: RunList) -> tuple[list[tuple[Claim, list[int]]], str]:
    """The claims that any run bears on, with these runs; or why they are not decided."""
    try:
        found = decide_claims(table)
    except MixedNumericsError as error:
        return [], str(error)
    plans = list(by_plan(table))
    with_runs = [
        (claim, [place for plan in plans for place in runs.places(plan, claim.to_json()["runs"])])
        for claim in found
    ]
    return [(claim, places) for claim, places in with_runs if places], ""


def _boards(judged: Matching, runs: RunList) -> list[dict[str, Any]]:
    """The finders of a plan side by side."""
    boards = boards_of(judged.judged).to_json()["boards"]
    for board in boards:
        for entry in board["entries"]:
            entry["places"] = runs.places(board["plan"], entry["runs"])
            if entry["minus_one_shot"]:
                found = entry["minus_one_shot"]
                found["places"] = runs.places(board["plan"], found["runs"])
    return list(boards)


def _transfer(rows: Sequence[Row], runs: RunList) -> list[dict[str, Any]]:
    """The matrices of a plan's transfer arms; none where numerics are mixed."""
    try:
        matrices = transfer_matrices(rows)
    except MixedNumericsError:
        return []
    return [_matrix(matrix, runs) for matrix in matrices]


def _matrix(matrix: TransferMatrix, runs: RunList) -> dict[str, Any]:
    plain = matrix.to_json()
    for row, written in zip(matrix.sources, plain["sources"], strict=True):
        written["sentence"] = row.universality.sentence()
        for place, entry in zip(row.places, written["places"], strict=True):
            for name in ("minus_dense", "minus_same_task"):
                found: MeanDifference | None = getattr(place, name)
                if found is not None:
                    entry[name] = entry[name] | {"places": runs.places(matrix.plan, found.runs)}
    return plain


# --- networks ----------------------------------------------------------------


def _groups(
    rows: Sequence[Row], found: Matching | None, mixed: str, runs: RunList
) -> list[dict[str, Any]]:
    """An entry for each network, all seeds together; for tickets with the verdict of `matching`."""
    judged = {each.pair.first: each for each in found.judged} if found else {}
    return [
        _group(mine, judged.get(mine), mixed)
        | {
            "runs": runs.places(mine[0].plan, (each.key for each in mine)),
            "dense_runs": runs.places(mine[0].plan, (each.dense_key for each in mine)),
        }
        for mine in by_network(rows)
    ]


def _group(mine: NetworkRows, judged: NetworkVerdict | None, mixed: str) -> dict[str, Any]:
    first, summary = mine[0], together(mine)
    verdict, why = (judged.verdict, judged.why) if judged else (None, mixed)
    there = sum(each.difference is not None for each in mine)
    if there < len(mine) and not (judged and judged.pair.diverged):
        verdict, why = None, f"{there} of {len(mine)} seeds are done"
    if first.sparsity is None or first.of or first.kind == "connectivity":
        verdict, why = None, ""
    return summary | {
        "plan": first.plan,
        "of": first.of,
        "finder": first.finder or (first.kind if first.is_ticket else ""),
        "is_search": first.is_own_ticket,
        "split": first.split,
        "margin": first.margin,
        "trivial": next((each.trivial for each in mine if each.trivial is not None), None),
        "seeds": [each.seed for each in mine],
        "values": [each.score for each in mine],
        "dense": [each.dense for each in mine],
        "verdict": verdict.to_json() if verdict else None,
        "no_verdict": why,
        "premise": judged.pair.dense_premise if judged else None,
    }


# --- searches ----------------------------------------------------------------


def _searches(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Score against sparsity of each search on each task, as the score curve takes it."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in groups:
        if one["is_search"]:
            found.setdefault((one["plan"], one["arm"], one["target"]), []).append(one)
    names = {mine[0]["finder"] for mine in found.values()}
    labels = {name: FINDERS[name].label if name in FINDERS else name for name in names}
    controls = _controls(groups)
    return [
        _search(*place, mine, controls) | {"finder": labels[mine[0]["finder"]]}
        for place, mine in found.items()
    ]


def _controls(groups: Sequence[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The controls of each plan, arm, task and sparsity."""
    found: dict[Any, dict[str, Any]] = {}
    for one in groups:
        if one["of"]:
            place = (one["plan"], one["of"], one["target"], one["sparsity"])
            found.setdefault(place, {})[one["name"]] = {"values": one["values"]}
    return found


def _search(
    plan: str,
    arm: str,
    task: str,
    rounds: Sequence[dict[str, Any]],
    controls: Mapping[Any, dict[str, Any]],
) -> dict[str, Any]:
    last = rounds[-1]
    return {
        "plan": plan,
        "arm": arm,
        "task": task,
        "metric": last["metric"],
        "split": last["split"],
        "dense": {"values": last["dense"]},
        "rounds": [{"sparsity": one["sparsity"], "values": one["values"]} for one in rounds],
        "controls": controls.get((plan, arm, task, last["sparsity"]), {}),
        "trivial": last["trivial"],
        "verdict": last["verdict"],
    }
