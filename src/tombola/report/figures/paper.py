"""Figures of plans for a paper: as wide as a column, in SVG and PDF, with their data inside."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from tombola.base.errors import SpecError
from tombola.base.files import write_bytes
from tombola.base.json_text import finite
from tombola.base.rounding import percent, unrounded
from tombola.base.text import html_text
from tombola.report.figures.network_rows import baselines, networks
from tombola.report.figures.networks import COLOURS, Looks, against_dense, curve
from tombola.report.figures.style import INK, svg
from tombola.report.figures.transfer_map import transfer_map

__all__ = ["save_figures"]

COLUMN = 240
"""Width in points: a column of most two-column papers, 3.3 inches."""
CURVE_HEIGHT = 130
ROW_HEIGHT = 7
"""Height of one network on one task."""
MARK = 22
"""Area of a mark, in square points."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

Facts = Mapping[str, Any]


def save_figures(facts: Facts, folder: Path) -> list[Path]:
    """Write every figure of some plans as NAME.svg and NAME.pdf.

    An SVG has its chart with all data in its metadata, as Vega-Lite; NAME.json has the same.

    Args:
        facts: what `plan_facts` returns.
        folder: created if it is missing.

    Raises: SpecError, if no run is done; OutputError, if the folder can't be written to.
    """
    named: dict[str, Any] = {}
    for name, chart in _figures(facts):
        plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "figure"
        taken = sum(each == plain or each.startswith(f"{plain}--") for each in named)
        named[f"{plain}--{taken + 1}" if taken else plain] = chart
    if not named:
        raise SpecError("a figure needs at least one score, got none. Run the plan first.")
    return [path for name, chart in named.items() for path in _save(chart, folder, name)]


def _save(chart: Any, folder: Path, name: str) -> list[Path]:
    drawn = svg(chart)
    data = json.dumps(finite(chart.to_dict()), allow_nan=False)
    head, start, rest = drawn.partition(">")
    inside = f"{head}{start}<metadata>{html_text(data)}</metadata>{rest}"
    files = {
        ".svg": inside.encode(),
        ".pdf": vl_convert.svg_to_pdf(drawn),
        ".json": f"{data}\n".encode(),
    }
    return [write_bytes(folder / f"{name}{end}", content) for end, content in files.items()]


def _figures(facts: Facts) -> Iterator[tuple[str, Any]]:
    """Name and chart of every figure."""
    done = [one for one in networks(facts["groups"]) if one["score"] is not None]
    dense = {(one["plan"], one["task"]): one for one in baselines(facts["groups"])}
    for plan in dict.fromkeys(one["plan"] for one in done):
        mine = [one for one in done if one["plan"] == plan]
        for task in dict.fromkeys(one["task"] for one in mine):
            rows = [one for one in mine if one["task"] == task]
            yield f"scores-{plan}-{task}", _curve(rows, dense[plan, task])
        if compared := [one for one in _highest(mine) if one["minus"] is not None]:
            yield f"tasks-{plan}", _against_dense(compared)
    for matrix in facts["transfer"]:
        name = f"transfer-{matrix['plan']}-{matrix['arm']}-{unrounded(float(matrix['sparsity']))}"
        yield name, _for_paper(transfer_map(matrix), height=None)


def _highest(rows: Sequence[Facts]) -> list[Facts]:
    """The networks of each task's highest sparsity."""
    highest: dict[str, float] = {}
    for one in rows:
        highest[one["task"]] = max(one["sparsity"], highest.get(one["task"], 0.0))
    return [one for one in rows if one["sparsity"] == highest[one["task"]]]


def _looks(rows: Sequence[Facts]) -> Looks:
    return {one["network"]: (COLOURS[one["colour"]], one["shape"], one["dash"]) for one in rows}


def _curve(rows: Sequence[Facts], dense: Facts) -> Any:
    points = [
        {
            "network": one["network"],
            "x": 100 * one["sparsity"],
            "y": one["score"],
            "low": one["score"] - (one["sd"] or 0),
            "high": one["score"] + (one["sd"] or 0),
        }
        for one in rows
    ]
    lines = []
    if dense["score"] is not None:
        lines = [{"y": dense["score"]}]
        if dense["margin"] is not None:
            lines.append({"y": dense["score"] - dense["margin"]})
    title = f"{rows[0]['metric']} (points)"
    chart = curve(points, lines, _looks(rows), title=title, size=MARK)
    return _for_paper(chart, height=CURVE_HEIGHT)


def _against_dense(rows: Sequence[Facts]) -> Any:
    points = [
        {
            "network": one["network"],
            "task": one["task"],
            "x": one["minus"],
            "sparsity": percent(one["sparsity"]),
            **dict(zip(("low", "high"), one["interval"] or (one["minus"],) * 2, strict=True)),
            "margin": one["margin"],
        }
        for one in rows
    ]
    looks = _looks(rows)
    tasks = len({one["task"] for one in rows})
    height = tasks * (ROW_HEIGHT * len(looks) + 8)
    return _for_paper(against_dense(points, looks, size=MARK), height=height)


def _for_paper(chart: Any, *, height: int | None) -> Any:
    """A chart in the size and the fonts of a column."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    sized = chart.properties(width=COLUMN, autosize=fit, background="white")
    sized = sized.properties(height=height) if height else sized
    text = {"labelFontSize": 7, "titleFontSize": 8, "labelColor": INK, "titleColor": INK}
    return (
        sized.configure(font=FONT, padding=2)
        .configure_view(stroke=None)
        .configure_axis(**text, titleFontWeight="normal", gridColor="#ececec", labelLimit=90)
        .configure_legend(
            labelFontSize=7,
            labelColor=INK,
            symbolSize=28,
            columns=2,
            labelLimit=105,
            offset=8,
        )
        .configure_rule(color=INK)
        .configure_tick(color=INK)
    )
