"""Networks compared: score against sparsity on one task, and every task at one sparsity.

Both charts serve a page, which fills in the data that a reader chooses, and a paper.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt

from tombola.report.figures.style import BLUE, GREEN, PURPLE, VERMILION

__all__ = ["COLOURS", "DASHES", "SHAPES", "Looks", "against_dense", "curve", "look_at"]

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Looks: TypeAlias = Mapping[str, tuple[str, str, Sequence[int]]]
"""Name of a network -> colour and shape of its marks, and the dashes of its line."""

COLOURS = (
    *(BLUE, VERMILION, GREEN, PURPLE),
    *("#B07A00", "#3A94C5", "#555555", "#8C4A9E"),
)
"""Okabe and Ito's palette, distinct in any colour vision, its light colours darkened to stand out
from white."""
SHAPES = (
    *("circle", "square", "triangle-up", "diamond"),
    *("cross", "triangle-down", "triangle-right", "triangle-left"),
)
DASHES = ((1, 0), (6, 3), (2, 2), (8, 2, 2, 2), (12, 3), (4, 1), (10, 2, 4, 2), (1, 3))
"""Strokes and gaps of a line, in pixels; a colour comes back with the next of them."""
SPREAD = 0.3
"""Share of the distance between two sparsities over which the networks at one are spread."""
MOST_APART = 1 / 60
"""Share of the axis that is the largest distance between two networks at one sparsity."""
FACTS = ("network", "task", "sparsity", "seeds", "score", "minus dense", "verdict")
"""What a tooltip says of a network; fields of its row, as text."""


def look_at(place: int) -> tuple[int, str, Sequence[int]]:
    """Number of the colour, shape and dashes of the network at that place.

    No two of 64 look the same: where a colour comes back, shape and dashes are others.
    """
    row, column = divmod(place, len(COLOURS))
    return column, SHAPES[(column + row) % len(SHAPES)], DASHES[row % len(DASHES)]


def curve(
    points: Rows | None = None,
    lines: Rows | None = None,
    looks: Looks | None = None,
    *,
    title: str = "points",
    size: int = 70,
) -> Any:
    """Scores of networks against their sparsity, with dense and its margin as lines.

    Networks at one sparsity stand a little apart, each where it does at the others.

    Args:
        points: a row for each network and sparsity: network, x in percent, y, low and high in
            points, and the facts of a tooltip; None for a chart that a page fills.
        lines: y and name of the lines across: dense, and dense minus the margin.
        looks: the looks of every network among the points.
        title: the title of the vertical axis.
        size: area of a mark, in square pixels.
    """
    rules = _chart(lines, "lines").mark_rule(strokeDash=[4, 3])
    base = _apart(_chart(points, "points")).encode(
        x=alt.X(
            "apart:Q",
            title="sparsity (%)",
            scale=alt.Scale(zero=False, nice=False, padding=12),
            axis=alt.Axis(tickCount=8),
        ),
        color=_colour(looks),
    )
    y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=False, padding=8))
    whiskers = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    marks = base.mark_point(filled=True, size=size, opacity=1, cursor="pointer")
    chart: Any = alt.layer(
        rules.encode(y=y, tooltip=alt.Tooltip("name:N")),
        base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=_dash(looks)),
        whiskers,
        marks.encode(y=y, shape=_shape(looks), tooltip=_tooltip()),
    )
    return chart


def against_dense(points: Rows | None = None, looks: Looks | None = None, *, size: int = 70) -> Any:
    """Every task in a row: how far its networks are from dense, with intervals and the margin.

    Args:
        points: the points, as for `curve`, with task and margin; x is the difference from dense,
            and low and high are the ends of its interval, in points.
        looks: the looks of every network among the points.
        size: area of a mark, in square pixels.
    """
    base = _chart(points, "points").encode(
        y=alt.Y("task:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
        yOffset=alt.YOffset("network:N", sort=None),
        color=_colour(looks),
    )
    x = alt.X("x:Q", title="minus dense (points)", scale=alt.Scale(padding=8))
    marks = base.mark_point(filled=True, size=size, opacity=1, cursor="pointer")
    margin = (
        _chart(points, "points")
        .transform_filter("isValid(datum.margin)")
        .transform_calculate(limit="-datum.margin")
        .mark_tick(thickness=2)
        .encode(
            y=alt.Y("task:N", sort=None),
            x="limit:Q",
            tooltip=alt.Tooltip("limit:Q", title="margin"),
        )
    )
    chart: Any = alt.layer(
        alt.Chart(alt.InlineData(values=[{"x": 0}])).mark_rule().encode(x="x:Q"),
        margin,
        base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        marks.encode(x=x, shape=_shape(looks), tooltip=_tooltip()),
    )
    return chart


def _apart(chart: alt.Chart) -> alt.Chart:
    """The chart with a field `apart`: x, moved so that networks at one x don't hide each other."""
    span = "(datum.most > datum.least ? datum.most - datum.least : 20)"
    step = (
        f"min({MOST_APART} * {span}, {SPREAD} * {span} / max(1, datum.places - 1) / datum.networks)"
    )
    return (
        chart.transform_joinaggregate(
            least="min(x)", most="max(x)", places="distinct(x)", networks="distinct(network)"
        )
        .transform_window(place="dense_rank()", sort=[alt.SortField("network")], frame=[None, None])
        .transform_calculate(apart=f"datum.x + (datum.place - (datum.networks + 1) / 2) * {step}")
    )


def _chart(rows: Rows | None, name: str) -> alt.Chart:
    """A chart of some rows, or of data that a page supplies under that name."""
    data = alt.NamedData(name=name) if rows is None else alt.InlineData(values=list(rows))
    return alt.Chart(data)


def _colour(looks: Looks | None) -> alt.Color:
    scale = _scale(looks, 0)
    return alt.Color("network:N", sort=None, scale=scale, legend=_legend())


def _shape(looks: Looks | None) -> alt.Shape:
    return alt.Shape("network:N", sort=None, scale=_scale(looks, 1), legend=_legend())


def _dash(looks: Looks | None) -> alt.StrokeDash:
    return alt.StrokeDash("network:N", sort=None, scale=_scale(looks, 2), legend=_legend())


def _scale(looks: Looks | None, part: int) -> alt.Scale:
    known = looks or {}
    return alt.Scale(domain=list(known), range=[look[part] for look in known.values()])


def _legend() -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=2,
        labelLimit=220,
        symbolOpacity=1,
        symbolStrokeWidth=0,  # which would be dashed
    )


def _tooltip() -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N") for name in FACTS]
