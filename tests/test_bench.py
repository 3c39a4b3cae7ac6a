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


def test_the_table_of_accuracies_is_made_from_the_results_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import accuracy

    page = accuracy.PAGE.read_text(encoding="utf-8")
    results = json.loads(accuracy.RESULTS.read_text(encoding="utf-8"))
    assert [*results] == [*accuracy.SIDES]
    assert accuracy.written(page, results) == page


def test_tables_and_claims_on_sparse_kernels_are_those_of_their_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sparse_kernels
    import sparse_tables

    page = sparse_kernels.PAGE.read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    claim = "times as fast as the dense one in float32"
    if not sparse_kernels.RESULTS.exists():
        assert "The tables have not been made yet" in page
        assert claim not in readme
        return
    results = json.loads(sparse_kernels.RESULTS.read_text(encoding="utf-8"))
    assert sparse_kernels.written(page, results) == page
    assert f"{sparse_tables.encoder_speed(results, 0.9, 1, 128):.1f} {claim}" in readme


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
