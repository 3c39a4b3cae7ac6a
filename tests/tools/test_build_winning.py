"""The page about winning tickets is what its rows make, and what it and README say is in them."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from build_winning import PAGE, ROWS, TABLES, page
from tombola.study.table.grouping import by_network
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.matching import matching

ROOT = Path(__file__).parents[2]
MOST = Decimal("0.7")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(ROWS)


def text_of(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def test_the_page_is_what_its_rows_make(rows: list[Row]) -> None:
    kept = PAGE.read_text(encoding="utf-8")
    assert page(kept, rows) == kept, "run `python tools/build_winning.py`"
    assert set(re.findall("<!-- table: (.+?) -->", kept)) == set(TABLES)


def test_readme_and_page_say_by_how_much_tickets_beat_one_shot_pruning(rows: list[Row]) -> None:
    at = {(m[0].kind, m[0].target): m for m in by_network(rows) if m[0].sparsity == MOST}
    gaps = {
        task: Comparison.on_shared_seeds(at["imp", task], at["one-shot", task])
        for kind, task in at
        if kind == "imp"
    }
    means = {task: sum(pair.differences) / len(pair.differences) for task, pair in gaps.items()}
    ends = f"{min(means.values()):.1f} to {max(means.values()):.1f} points"
    assert all(pair.ends(0.05)[1] > 0 for pair in gaps.values())
    assert f"the ticket scores {ends} above one-shot pruning" in text_of(ROOT / "README.md")
    shown = text_of(PAGE)
    assert f"are worth {ends}" in shown
    for task, mean in means.items():
        assert re.search(rf"{mean:.1f} (points )?on `{task}`", shown)


def test_readme_and_page_say_how_many_tickets_match(rows: list[Row]) -> None:
    matches = {
        at: [
            each.row.target
            for each in matching(rows).judged
            if each.row.kind == "imp"
            and each.pair.sparsity == Decimal(at)
            and each.verdict
            and each.verdict.status == "matching"
        ]
        for at in ("0.5", "0.7", "0.9")
    }
    assert [len(each) for each in matches.values()] == [3, 2, 0]
    assert "all three have winning tickets at 50 %, and two of them at 70 %" in text_of(PAGE)
    two = "70 % of them can go on two of three tasks, where the ticket is shown to match the dense"
    assert two in text_of(ROOT / "README.md")
