"""Rows of a table by plan, and by network: all seeds of one together."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from tombola.study.table.row import Row

__all__ = ["NetworkRows", "by_network", "by_plan"]

NetworkRows: TypeAlias = tuple[Row, ...]
"""The rows of one network, one for each seed."""


def by_plan(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Name of a plan -> its rows."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.plan, []).append(row)
    return found


def by_network(rows: Iterable[Row]) -> list[NetworkRows]:
    """Rows that differ in nothing but their seed, together."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        network = (row.plan, row.arm, row.name, row.source, row.target, row.sparsity)
        found.setdefault(network, []).append(row)
    return [tuple(mine) for mine in found.values()]
