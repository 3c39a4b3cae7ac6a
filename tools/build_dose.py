"""Makes the tables and the picture of docs/results/dose.md from the rows next to it.

python tools/build_dose.py
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from page_tables import filled, markdown, save_picture, value_range
from tombola.base.rounding import percent
from tombola.study.table.grouping import by_network, by_plan
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "evidence"))

from build_pictures import HALF, MOST, TARGETS, dose_picture, doses  # noqa: E402
from estimates import Table, Trend, against, corrected, dose, trend  # noqa: E402
from transfer_tables import COLUMNS, by_target, minus_dense  # noqa: E402

RESULTS = ROOT / "docs" / "results"
PAGE, ROWS = RESULTS / "dose.md", RESULTS / "dose.csv"
FAMILY = "small"
NETWORKS = {"own": "its own ticket", "one-shot": "one-shot", "random": "random mask"}
"""Arms that every dose has, and shares."""


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """The rows of each dose, from the smallest."""
    return doses(by_plan(rows), FAMILY)


def page(text: str, rows: Sequence[Row]) -> str:
    """The page with its tables rebuilt from the rows."""
    found = tables_of(rows)
    return filled(text, {name: partial(table, found) for name, table in TABLES.items()})


def trends(tables: Sequence[Table]) -> str:
    """The primary test, then the secondary ones with their correction."""
    main = trend(tables, MOST)
    others = {f"`{name}`, 70 %": trend(tables, MOST, [name]) for name in TARGETS}
    others["mean of the three, 50 %"] = trend(tables, HALF)
    known = {name: each for name, each in others.items() if each}
    adjusted = corrected(known)
    lines = [["**mean of the three, 70 %**", *said(main), ""]]
    lines += [[name, *said(each), chance(adjusted[name])] for name, each in known.items()]
    return markdown(["targets", "points a doubling, 90 % interval", "P", "P by Holm"], lines)


def said(found: Trend | None) -> list[str]:
    """A trend's slope and its P."""
    return [found.slope.written, chance(found.p)] if found else ["fewer than two seeds", ""]


def chance(p: float) -> str:
    """A P value in three decimals."""
    return "under 0.001" if p < 0.001 else f"{p:.3f}"


def transfers(second: str, tables: Sequence[Table]) -> str:
    """The tickets of mlm minus another arm, by dose."""
    lines = [
        [
            f"{dose(table):.3f}",
            percent(sparsity),
            *by_target(partial(against, table, "moved", second, sparsity)),
        ]
        for sparsity in (MOST, HALF)
        for table in tables
    ]
    return markdown(["summed rate", "pruned", *COLUMNS], lines)


def verdicts(tables: Sequence[Table]) -> str:
    """Every network minus dense at 70 %, with the verdict on it."""
    lines = [[name, *minus_dense(tables[-1], arm)] for arm, name in NETWORKS.items()]
    lines += [[f"`mlm`'s, {dose(table):.3f}", *minus_dense(table, "moved")] for table in tables]
    return markdown(["mask", *(f"`{name}`" for name in TARGETS)], lines)


def overlaps(tables: Sequence[Table]) -> str:
    """Jaccard index of the weights that the source's ticket and one-shot pruning prune."""
    lines = [
        [f"{dose(table):.3f}", *(overlap(table, sparsity) for sparsity in (HALF, MOST))]
        for table in tables
    ]
    return markdown(["summed rate", percent(HALF), percent(MOST)], lines)


def overlap(table: Table, sparsity: Decimal) -> str:
    """Jaccard index of the weights that the source's ticket and one-shot pruning prune, as its
    range over seeds."""
    [mine] = [
        network
        for network in by_network(table)
        if (network[0].arm, network[0].sparsity) == ("source", sparsity)
    ]
    return value_range([row.jaccard_one_shot for row in mine])


TABLES: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "trends": trends,
    "minus one-shot": partial(transfers, "one-shot"),
    "minus its own": partial(transfers, "own"),
    "minus dense": verdicts,
    "overlap": overlaps,
}


if __name__ == "__main__":
    every = read_rows(ROWS)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), every), encoding="utf-8")
    drawn = dose_picture({table[0].plan: table for table in tables_of(every)})
    save_picture(drawn, RESULTS, "dose")
