"""Score of each finder's tickets against their cost: a panel for each plan, task and sparsity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from tombola.base.errors import SpecError
from tombola.base.rounding import percent
from tombola.report.figures.style import COLOURS, DENSE, INK, chart_of, save_chart, styled

__all__ = ["draw", "save"]

WIDTH, HEIGHT = 240, 180
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

Boards = Sequence[Mapping[str, Any]]


def draw(boards: Boards) -> alt.VConcatChart:
    """Panels with the tasks of each plan downward and sparsities to the right; budgets share one.

    A bar is the 90 % interval over seeds. The line joins the frontier: nothing else on the panel
    costs as little and scores as high, by means.

    Args:
        boards: `study.leaderboard.board.Board`s as JSON.

    Raises: SpecError, if no ticket has both a score and a cost.
    """
    several = len({board["plan"] for board in boards}) > 1
    panels: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for board in boards:
        if points := [_point(entry, board) for entry in board["entries"] if _is_placed(entry)]:
            row = panels.setdefault((board["plan"], board["task"]), {})
            row.setdefault(board["sparsity"], []).extend(points)
    if not panels:
        raise SpecError(
            "a picture needs a ticket with a score and a cost, and no run has both. Run the plan "
            "first; tables of earlier versions have no cost."
        )
    finders = list(dict.fromkeys(e["finder"] for board in boards for e in board["entries"]))
    rows = [
        alt.hconcat(
            *(
                _panel(f"{task} at {percent(at)}{', ' + plan if several else ''}", points, finders)
                for at, points in row.items()
            ),
            spacing=24,
        )
        for (plan, task), row in panels.items()
    ]
    chart: alt.VConcatChart = styled(alt.vconcat(*rows, spacing=24).properties(background="white"))
    return chart


def save(boards: Boards, folder: Path) -> list[Path]:
    """Write leaderboard.svg and leaderboard.png.

    Raises: SpecError, if there is nothing to draw; OutputError, if the folder can't be written to.
    """
    return save_chart(draw(boards), folder, "leaderboard")


def _is_placed(entry: Mapping[str, Any]) -> bool:
    return entry["cost"] is not None and entry["score"]["mean"] is not None


def _point(entry: Mapping[str, Any], board: Mapping[str, Any]) -> dict[str, Any]:
    mean, dense = entry["score"]["mean"], [each for each in entry["dense"] if each is not None]
    low, high = entry["score"]["interval"] or (mean, mean)
    return {
        "finder": entry["finder"],
        "cost": entry["cost"]["trainings"],
        "score": mean,
        "low": low,
        "high": high,
        "frontier": entry["on_frontier"],
        "dense": sum(dense) / len(dense) if dense else None,
        "metric": board["metric"],
    }


def _panel(
    title: str, points: Sequence[Mapping[str, Any]], finders: Sequence[str]
) -> alt.LayerChart | alt.FacetChart:
    base = chart_of(points).encode(
        x=alt.X(
            "cost:Q",
            title="cost (trainings of dense)",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(grid=False, tickCount=5, format="~g"),
        ),
        y=alt.Y("score:Q", title=f"{points[0]['metric']} (points)", scale=alt.Scale(zero=False)),
    )
    looks = {
        "color": alt.Color("finder:N", sort=[*finders], scale=_scale(finders, COLOURS), title=None),
        "shape": alt.Shape("finder:N", sort=[*finders], scale=_scale(finders, SHAPES), title=None),
    }
    dense = base.mark_rule(color=DENSE, strokeDash=[4, 3]).encode(
        x=alt.value(0), x2=alt.value(WIDTH), y="mean(dense):Q"
    )
    best = base.transform_filter("datum.frontier").mark_line(color="#bbbbbb", strokeWidth=1.5)
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q", color=looks["color"])
    marks = base.mark_point(filled=True, size=60, opacity=1).encode(**looks)
    above = alt.TitleParams(title, anchor="start", color=INK)
    return alt.layer(dense, best, bars, marks).properties(width=WIDTH, height=HEIGHT, title=above)


def _scale(finders: Sequence[str], values: Sequence[str]) -> alt.Scale:
    """Colours and shapes repeat with different periods, so that no two finders share both."""
    return alt.Scale(
        domain=[*finders], range=[values[at % len(values)] for at in range(len(finders))]
    )
