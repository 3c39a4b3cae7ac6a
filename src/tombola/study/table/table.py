"""One row for each run of a plan, from a store; runs that are not done are marked."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from tombola.base.errors import SpecError, TombolaError
from tombola.lab.run.compute import search_compute
from tombola.lab.run.stopped_jobs import stopped
from tombola.lab.store.numerics import RERUN, refuse_mixed
from tombola.lab.store.result_store import Store
from tombola.plan.job import one_shot
from tombola.plan.job_spec import as_mask
from tombola.plan.plan import Plan
from tombola.study.table.grouping import NetworkRows, by_network
from tombola.study.table.margins import margins
from tombola.study.table.row import Row, digest, row

__all__ = [
    "OF_GROUPS",
    "groups",
    "refuse_empty",
    "refuse_mixed_rows",
    "rows",
    "texts_read",
    "together",
    "with_overlaps",
]

EXPORT_AGAIN = "Write the table again from runs with the same threads, precision and versions."
"""What to do about a table of runs with different numerics."""

WHAT = ("arm", "name", "source", "target", "sparsity")
"""Columns that identify a network; the others are its recipe and its results."""


def rows(plan: Plan, store: Store, name: str = "") -> list[Row]:
    """One row a run.

    Args:
        plan: its cells become the rows.
        store: the store with the results.
        name: the name of the plan.
    """
    read = cache(store.read)
    spent = cache(lambda training: search_compute(training, read))
    todo = {job.key for job in plan.jobs if not store.has(job.key)}
    halted = stopped(plan.jobs, store, todo)
    table = [
        row(
            name,
            cell,
            read(cell.key),
            read(cell.dense),
            search=spent(cell.training) if cell.ticket else None,
            stopped=cell.key in halted,
            plan_rows=len(plan.cells),
        )
        for cell in plan.cells
    ]
    by_task = margins(plan, store, halted)
    table = [replace(each, margin=by_task[each.target]) for each in table]
    return _with_test_sets(table, store)


def _with_test_sets(table: Sequence[Row], store: Store) -> list[Row]:
    """The rows of a table, with the baseline and resolution of a test set from any run on it."""
    known: dict[str, tuple[float, float | None]] = {}
    for each in table:
        if each.state == "done" and each.trivial is not None and each.target not in known:
            known[each.target] = each.trivial, each.resolution or _resolution(each, store)
    return [
        replace(
            each,
            trivial=each.trivial if each.trivial is not None else known[each.target][0],
            resolution=each.resolution or known[each.target][1],
        )
        if each.target in known
        else each
        for each in table
    ]


def _resolution(done: Row, store: Store) -> float | None:
    """The resolution of a result that does not record it, if its predictions can be read."""
    from tombola.lab.store.artifacts import read_predictions
    from tombola.tasks.metrics import resolution

    try:
        return resolution(done.metric, read_predictions(store, done.key))
    except (OSError, TombolaError):
        return None


def with_overlaps(table: Sequence[Row], plan: Plan, store: Store) -> list[Row]:
    """The rows of a table, with each mask's overlap with one-shot pruning's where both are kept.

    Args:
        table: the rows of all cells of the plan, in their order.
        plan: the plan that the rows belong to.
        store: the store with the masks.
    """
    from tombola.lab.store.artifacts import has_mask, read_mask
    from tombola.ticket.mask import jaccard

    pruned = lru_cache(maxsize=4)(lambda key: read_mask(store, key))
    found: dict[str | None, float | None] = {None: None}
    for cell in sorted(plan.cells, key=lambda cell: cell.sparsity or 0):
        if cell.ticket is not None and cell.sparsity is not None and cell.mask not in found:
            structure = as_mask(cell.ticket.spec).prune.structure
            other = one_shot(cell.ticket.subject, cell.sparsity, structure)
            pair = other.key, cell.ticket.key
            there = all(has_mask(store, key) for key in pair)
            found[cell.mask] = (
                jaccard(pruned(pair[0]), read_mask(store, pair[1])) if there else None
            )
    return [replace(each, jaccard_one_shot=found[each.mask_key]) for each in table]


def refuse_empty(table: Sequence[Row], store: Store, command: str = "tombola run") -> None:
    """Refuse a store that has nothing of a plan, so that an empty table is never taken for one.

    Args:
        table: the rows of the plan.
        store: where they would be.
        command: does the plan, for the error.

    Raises: SpecError, if no row has come to anything.
    """
    if all(each.state == "missing" for each in table):
        raise SpecError(
            f"expected runs of this plan in the store {str(store.folder)!r}, got none of "
            f"{len(table)}. Run some with `{command}`, or use another --store."
        )


def refuse_mixed_rows(table: Iterable[Row]) -> None:
    """Refuse to compare runs on one task whose arithmetic differs.

    Raises: MixedNumericsError, with the two runs, the field and both values.
    """
    by_target: dict[str, dict[str, tuple[str, Any]]] = {}
    for each in table:
        records = by_target.setdefault(each.target, {})
        for what, key, numerics in (
            ("dense", each.dense_key, each.dense_numerics),
            (each.name, each.key, each.numerics),
        ):
            if numerics is not None:
                run = f"{what} on {each.target}, seed {each.seed} ({key[:12]})"
                records.setdefault(key, (run, numerics))
    for records in by_target.values():
        names, numerics_of_all = zip(*records.values(), strict=True) if records else ((), ())
        exported = any("digest" in each for each in numerics_of_all)
        if exported:  # a table has no more of them
            numerics_of_all = tuple({"digest": digest(each)} for each in numerics_of_all)
        refuse_mixed(numerics_of_all, names, remedy=EXPORT_AGAIN if exported else RERUN)


def texts_read(plan: Plan, store: Store) -> dict[str, dict[str, dict[str, Any]]]:
    """Task -> split -> counts of its inputs, from a finished training; see `InputCounts`."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in plan.cells:
        result = None if cell.target in found else store.read(cell.dense)
        if result is not None and "inputs" in result.facts:
            found[cell.target] = result.facts["inputs"]
    return found


OF_GROUPS: Mapping[str, type] = {
    **dict.fromkeys(("cells", "done", "diverged"), int),
    **dict.fromkeys(("mean", "std", "minus_dense"), float),
}
"""What one entry for all seeds of a network has besides columns of its rows -> its type."""


def groups(table: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry for each network, with mean and standard deviation over its seeds, in points."""
    return [together(mine) for mine in by_network(table)]


def together(mine: NetworkRows) -> dict[str, Any]:
    """Summary of one network's rows, as JSON has it."""
    plain = mine[0].to_json()
    scores = [each.score for each in mine if each.score is not None]
    changes = [each.difference for each in mine if each.difference is not None]
    return {name: plain[name] for name in WHAT} | {
        "metric": mine[0].metric,
        "cells": len(mine),
        "done": len(scores),
        "diverged": sum(each.state == "diverged" for each in mine),
        "mean": statistics.fmean(scores) if scores else None,
        "std": statistics.stdev(scores) if len(scores) > 1 else None,
        "minus_dense": statistics.fmean(changes) if changes else None,
    }
