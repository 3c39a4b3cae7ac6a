"""The picture of a leaderboard has every ticket with a score and a cost, and joins the frontier."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import SpecError
from tombola.report.figures.leaderboard import draw, save


def entry(finder: str, trainings: float | None, mean: float | None, **more: Any) -> dict[str, Any]:
    ends = None if mean is None else [mean - 1, mean + 1]
    cost = None if trainings is None else {"trainings": trainings}
    score = {"mean": mean, "interval": ends, "values": [mean]}
    made = {"finder": finder, "cost": cost, "score": score, "dense": [80.0, None, 82.0]}
    return {**made, "on_frontier": True, **more}


def board(
    *entries: dict[str, Any], task: str = "a", sparsity: str = "0.7", plan: str = "one"
) -> dict[str, Any]:
    place = {"plan": plan, "task": task, "sparsity": sparsity, "metric": "accuracy"}
    return {**place, "entries": list(entries)}


def points(chart: Any) -> list[dict[str, Any]]:
    """The data of all panels."""
    return [point for values in chart.to_dict()["datasets"].values() for point in values]


def test_budgets_share_a_panel_and_what_has_no_score_or_cost_is_left_out() -> None:
    small = board(entry("imp", 2.0, 70.0), entry("snip", None, 60.0), entry("obs", 1.0, None))
    large = board(entry("imp", 9.0, 75.0), entry("gradual", 9.0, 71.0, on_frontier=False))
    other = board(entry("imp", 2.0, 50.0), task="b")
    drawn = draw([small, large, other])
    assert [len(row.hconcat) for row in drawn.vconcat] == [1, 1]
    found = [(point["finder"], point["cost"], point["score"]) for point in points(drawn)]
    assert sorted(found) == [
        ("gradual", 9.0, 71.0),
        ("imp", 2.0, 50.0),
        ("imp", 2.0, 70.0),
        ("imp", 9.0, 75.0),
    ]
    assert [p["finder"] for p in points(drawn) if not p["frontier"]] == ["gradual"]
    assert {point["dense"] for point in points(drawn)} == {81.0}


def test_each_plan_has_panels_of_its_own_which_name_it() -> None:
    boards = [board(entry("imp", 2.0, mean), plan=f"p{mean:.0f}") for mean in (70.0, 50.0)]
    drawn = draw(boards)
    titles = [panel.title.text for row in drawn.vconcat for panel in row.hconcat]
    assert titles == ["a at 70 %, p70", "a at 70 %, p50"]
    assert [panel.title.text for row in draw(boards[:1]).vconcat for panel in row.hconcat] == [
        "a at 70 %"
    ]


def test_no_two_finders_look_the_same() -> None:
    names = [f"finder {number}" for number in range(20)]
    drawn = draw([board(*(entry(name, 1.0, 70.0) for name in names))])
    marks = drawn.to_dict()["vconcat"][0]["hconcat"][0]["layer"][-1]["encoding"]
    looks = zip(*(marks[name]["scale"]["range"] for name in ("color", "shape")), strict=True)
    assert len(set(looks)) == len(names)


def test_it_is_written_as_svg_and_png(tmp_path: Path) -> None:
    rows = [entry("imp", 2.0, 70.0), entry("one-shot", 1.0, 66.0)]
    files = save([board(*rows, sparsity=f"{Decimal('0.9'):f}")], tmp_path)
    assert [path.name for path in files] == ["leaderboard.svg", "leaderboard.png"]
    text = files[0].read_text(encoding="utf-8")
    assert all(name in text for name in ("imp", "one-shot", "a at 90 %", "accuracy (points)"))
    with pytest.raises(SpecError, match="no run has both"):
        save([board(entry("imp", None, 70.0))], tmp_path)
