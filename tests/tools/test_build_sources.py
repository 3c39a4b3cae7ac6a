"""The page about sources is what its rows make, and what it says of them is in them."""

import re
from decimal import Decimal

import pytest

from build_pictures import QUESTIONS, SMALL_SOURCES
from build_sources import COMPARED, PAGE, ROWS, TABLES, Plans, page, plans_of
from estimates import between
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row

MOST = Decimal("0.7")
MOVED = ("moved", "moved")
PAIRS = [pair for pair in QUESTIONS if {*pair} <= SMALL_SOURCES.keys()]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(ROWS)


@pytest.fixture(scope="module")
def plans(rows: list[Row]) -> Plans:
    return plans_of(rows)


@pytest.fixture(scope="module")
def text() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def test_the_page_is_what_its_rows_make(rows: list[Row]) -> None:
    kept = PAGE.read_text(encoding="utf-8")
    assert page(kept, rows) == kept, "run `python tools/build_sources.py`"
    assert set(re.findall("<!-- table: (.+?) -->", kept)) == set(TABLES)


def test_no_source_is_shown_to_matter(plans: Plans, text: str) -> None:
    found = [between(plans[first], plans[second], MOVED, MOST) for first, second in PAIRS]
    known = [each for each in found if each]
    assert len(known) == len(PAIRS) == 4
    assert all(each.low < 0 < each.high for each in known)
    largest = max(abs(each.mean) for each in known)
    assert f"by more than {largest:.1f} points, and each interval has zero in it" in text
    assert f"may cost {largest:.1f} points" in text


def test_brown_alone_is_above_one_shot_pruning_as_the_full_text_is(plans: Plans, text: str) -> None:
    arms = ("moved", "one-shot")
    brown, full = (
        between(plans[name], plans["small-0.04"], arms, MOST)
        for name in ("small-lineage", "small-0.04")
    )
    assert brown
    assert full
    assert brown.low > 0
    assert f"{brown.mean:.1f}" == f"{full.mean:.1f}"
    assert (
        f"is {brown.mean:.1f} points above one-shot pruning, as is the ticket of the full" in text
    )


def test_on_sentiment_two_comparisons_have_zero_outside(plans: Plans, text: str) -> None:
    found = [
        between(plans[first], plans[second], MOVED, MOST, ["sentiment"]) for first, second in PAIRS
    ]
    outside = sum(not each.low < 0 < each.high for each in found if each)
    assert outside == 2
    assert "on `sentiment` alone, two of them have zero outside" in text


def test_dense_runs_of_both_studies_have_the_same_digits(rows: list[Row], text: str) -> None:
    dose, here = (
        {row.dense_key: row.dense for row in table if row.dense is not None}
        for table in (read_rows(COMPARED), rows)
    )
    shared = dose.keys() & here.keys()
    assert len(shared) == 12
    assert all(dose[key] == here[key] for key in shared)
    assert "The twelve dense runs" in text
