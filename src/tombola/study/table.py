"""Store -> one tidy row for each cell of a plan."""

import statistics
from collections.abc import Iterable
from typing import Any

from tombola.lab.plan import Plan
from tombola.lab.store import Result, Store

__all__ = ["groups", "rows"]

WHAT = ("arm", "name", "source", "target", "sparsity")
"""Columns that say what a row is about; the rest says what came of it."""


def rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """One row a cell: what was trained, its score and that of its dense network, in points.

    Scores that are not there yet are None.
    """
    kept: dict[str, Result | None] = {}
    for cell in plan.cells:
        for key in (cell.key, cell.dense):
            if key not in kept:
                kept[key] = store.read(key)
    table = []
    for cell in plan.cells:
        mine, dense = kept[cell.key], kept[cell.dense]
        table.append(
            {
                "arm": cell.arm,
                "name": cell.name,
                "source": cell.source,
                "target": cell.target,
                "sparsity": None if cell.sparsity is None else f"{cell.sparsity:f}",
                "seed": cell.seed,
                "metric": mine.facts["metric"] if mine else None,
                "score": mine.facts["score"] if mine else None,
                "dense": dense.facts["score"] if dense else None,
                "key": cell.key,
                "dense_key": cell.dense,
                "mask_key": cell.mask,
            }
        )
    return table


def groups(table: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all seeds together: mean and standard deviation, in points."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table:
        found.setdefault(tuple(row[name] for name in WHAT), []).append(row)
    return [_group(dict(zip(WHAT, what, strict=True)), mine) for what, mine in found.items()]


def _group(what: dict[str, Any], mine: list[dict[str, Any]]) -> dict[str, Any]:
    done = [row for row in mine if row["score"] is not None]
    scores = [row["score"] for row in done]
    changes = [row["score"] - row["dense"] for row in done if row["dense"] is not None]
    return what | {
        "metric": done[0]["metric"] if done else None,
        "cells": len(mine),
        "done": len(done),
        "mean": statistics.fmean(scores) if scores else None,
        "std": statistics.stdev(scores) if len(scores) > 1 else None,
        "minus_dense": statistics.fmean(changes) if changes else None,
    }
