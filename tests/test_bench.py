"""The tables of the performance page are those of the results that are kept next to them."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = (
    ROOT / "benchmarks" / "results.json",
    ROOT / "docs" / "explanation" / "performance.md",
)


def test_tables_are_made_from_the_results_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("bench", None)
    import bench

    page = PAGE.read_text(encoding="utf-8")
    if RESULTS.exists():
        assert bench.written(page, json.loads(RESULTS.read_text(encoding="utf-8"))) == page
    else:
        assert "The tables have not been made yet" in page


def test_the_parts_of_a_search_that_are_timed_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from ours import ours
    from protocol import QUICK

    found = ours(QUICK)
    assert found["trainings"] == 2
    assert set(found["spent"]) == {
        "evaluation",
        "keeping weights",
        "loading",
        "pruning",
        "reading weights",
        "storing",
        "tokenisation",
    }
    assert 0 < sum(found["spent"].values()) < found["seconds"]
