"""Scores that Chen et al. 2020 report, to compare measured differences with; in points."""

import csv
from decimal import Decimal
from functools import cache
from pathlib import Path

from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.selection import TERMS, in_default_rounds
from tombola.tasks.task import SUITE

__all__ = ["figure2", "published_difference", "table2"]

CATALOG = Path(__file__).parents[2] / "catalog" / "paper"
FIGURE_2_SPARSITY = Decimal("0.7")
COLUMNS = {
    "imp": "imp_mean",
    "random": "random_pruning",
    "reinit": "imp_random_init",
    "shuffle": "imp_shuffled_init",
}
"""Kind of network -> its column in Table 2."""


@cache
def table2() -> dict[str, dict[str, str]]:
    """Task -> its row: sparsity_pct, full_mean, imp_mean and so on."""
    return {row["task"]: row for row in _read("table2")}


@cache
def figure2() -> dict[str, dict[str, float]]:
    """Source, or one-shot -> target -> transfer minus dense; how many reach the task's own."""
    return {row.pop("source"): {k: float(v) for k, v in row.items()} for row in _read("figure2")}


def _read(name: str) -> list[dict[str, str]]:
    lines = (CATALOG / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def published_difference(pair: Comparison) -> float | None:
    """A difference as the paper reports it, if it has both networks on this task.

    The embedded tasks are not those of the paper, whatever their names.
    """
    first, second = pair.first[0], pair.second[0] if pair.second else None
    if (SUITE / first.target).is_dir():
        return None
    for minus_dense in (_in_table2, _in_figure2):
        both = minus_dense(first), minus_dense(second) if second else 0.0
        if both[0] is not None and both[1] is not None:
            return round(both[0] - both[1], 2)
    return None


def _in_paper(row: Row) -> bool:
    """Whether its mask is of single weights and the plain IMP's, or depends on no search."""
    if row.variant or row.swept or any(getattr(row, name) for name in TERMS):
        return False
    if not in_default_rounds(row):
        return False
    return row.kind in ("random", "one-shot") or row.is_of("imp")


def _in_table2(row: Row) -> float | None:
    """Difference from dense in Table 2."""
    there = table2().get(row.target)
    if there is None or row.sparsity is None or row.moved or not _in_paper(row):
        return None
    if row.kind not in COLUMNS or 100 * row.sparsity != Decimal(there["sparsity_pct"]):
        return None
    return float(there[COLUMNS[row.kind]]) - float(there["full_mean"])


def _in_figure2(row: Row) -> float | None:
    """Difference from dense in Figure 2."""
    if row.sparsity != FIGURE_2_SPARSITY or not _in_paper(row):
        return None
    if row.kind not in ("imp", "transfer", "one-shot"):
        return None
    source = row.kind if row.kind == "one-shot" else row.source
    return figure2().get(source, {}).get(row.target)
