"""The tables of the performance page are those of the results that are kept beside them."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "performance.md"


def test_tables_are_made_from_the_results_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("bench", None)
    import bench

    page = PAGE.read_text(encoding="utf-8")
    if RESULTS.exists():
        assert bench.written(page, json.loads(RESULTS.read_text(encoding="utf-8"))) == page
    else:
        assert "The tables have not been made yet" in page
