"""Makes the tables and the picture of docs/results/sources.md from the rows next to it.

python tools/build_sources.py
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from page_tables import filled, markdown, save_picture
from tombola.study.table.grouping import by_plan
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "evidence"))

from build_pictures import (  # noqa: E402
    MOST,
    QUESTIONS,
    SMALL,
    SMALL_SOURCES,
    source_marks,
    source_picture,
)
from estimates import Table, between, dose  # noqa: E402
from transfer_tables import COLUMNS, by_target, minus_dense  # noqa: E402

RESULTS = ROOT / "docs" / "results"
PAGE, ROWS = RESULTS / "sources.md", RESULTS / "sources.csv"
COMPARED = RESULTS / "dose.csv"
"""Has the plan that the others are compared with."""

Plans: TypeAlias = Mapping[str, Table]


def plans_of(rows: Sequence[Row]) -> Plans:
    """The rows of each plan, the one that the others are compared with first."""
    every = by_plan([*read_rows(COMPARED), *rows])
    return {name: every[name] for name in SMALL_SOURCES}


def page(text: str, rows: Sequence[Row]) -> str:
    """The page with its tables rebuilt from the rows."""
    plans = plans_of(rows)
    return filled(text, {name: partial(table, plans) for name, table in TABLES.items()})


def sources(plans: Plans) -> str:
    """How each source was trained."""
    lines = []
    for name, table in plans.items():
        mine = [row for row in table if row.arm == "source"]
        steps, examples = ({getattr(row, field) for row in mine} for field in ("steps", "examples"))
        lines.append(
            [
                what(name),
                *(f"{max(each or 0 for each in values):,}" for values in (examples, steps)),
                f"{dose(table):.3f}",
            ]
        )
    return markdown(["source", "training examples", "steps", "summed rate"], lines)


def what(plan: str) -> str:
    """What the source of a plan is, in words."""
    return SMALL_SOURCES[plan][0]


def questions(plans: Plans) -> str:
    """The tests fixed before: the ticket of one source minus that of another."""
    lines = [
        [
            f"{what(first)} minus {what(second)}",
            *by_target(partial(between, plans[first], plans[second], ("moved", "moved"), MOST)),
        ]
        for first, second in QUESTIONS
        if {first, second} <= plans.keys()
    ]
    return markdown(["ticket of `mlm`", *COLUMNS], lines)


def minus_one_shot(plans: Plans) -> str:
    """The ticket of each source minus one-shot pruning."""
    arms = "moved", "one-shot"
    lines = [
        [what(name), *by_target(partial(between, table, plans[SMALL], arms, MOST))]
        for name, table in plans.items()
    ]
    return markdown(["source", *COLUMNS], lines)


def verdicts(plans: Plans) -> str:
    """The ticket of each source minus dense, with the verdict on it."""
    lines = [[what(name), *minus_dense(table, "moved")] for name, table in plans.items()]
    return markdown(["source", *COLUMNS[1:]], lines)


TABLES: Mapping[str, Callable[[Plans], str]] = {
    "sources": sources,
    "questions": questions,
    "minus one-shot": minus_one_shot,
    "minus dense": verdicts,
}


if __name__ == "__main__":
    every = read_rows(ROWS)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), every), encoding="utf-8")
    marks = source_marks(plans_of(every), SMALL_SOURCES, SMALL)
    save_picture(source_picture(marks), RESULTS, "sources")
