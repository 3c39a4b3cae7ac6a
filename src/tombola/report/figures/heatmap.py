"""A value for each matrix of a network, as a heat map: layers to the right, types downward."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from tombola.base.rounding import percent
from tombola.report.figures.style import INK, chart_of, styled

__all__ = ["draw"]

CELL = (46, 24)
"""Width and height of a matrix, in pixels."""
TOGETHER = "all"
Values = Sequence[Sequence[float | None]]


def _whole_percent(share: float) -> str:
    return percent(share, digits=0)


def draw(
    grid: Mapping[str, Any],
    *,
    title: str,
    values: Values | None = None,
    shown: Callable[[float], str] = _whole_percent,
) -> alt.LayerChart:
    """The heat map of one list of blocks.

    Args:
        grid: a `study.masks.sparsity_grids.SparsityGrid` as JSON.
        title: what is shown.
        values: [layer][type], from 0 to 1, to show instead of the sparsities; these have no totals,
            and their colours span 0 to 1 instead of the values' own range.
        shown: a value as text; whole percent by default.
    """
    rows = _cells(grid, grid["sparsity"] if values is None else values)
    low, high = 0.0, 1.0
    if values is None:
        known = [row["value"] for row in rows]
        low, high = min(known, default=low), max(known, default=high)
        rows += _totals(grid)
    rows = [{**row, "text": shown(row["value"])} for row in rows]
    dark = low + 0.6 * (high - low)
    base = chart_of(rows).encode(x=_layers(grid), y=_types(grid))
    scale = alt.Scale(scheme="blues", domain=[low, high if high > low else low + 1e-9], clamp=True)
    squares = base.mark_rect(stroke="white", strokeWidth=1.5).encode(
        color=alt.Color("value:Q", scale=scale, legend=None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text="text:N",
        color=alt.condition(f"datum.value > {dark}", alt.value("white"), alt.value(INK)),
    )
    chart: alt.LayerChart = styled(
        alt.layer(squares, numbers).properties(
            width=alt.Step(CELL[0]),
            height=alt.Step(CELL[1]),
            background="white",
            title=alt.TitleParams(title, anchor="start", fontSize=13, color=INK, frame="group"),
        )
    )
    return chart


def _layers(grid: Mapping[str, Any]) -> alt.X:
    """The axis of layers, above the map."""
    axis = alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False)
    return alt.X("layer:N", sort=[*map(str, grid["layers"]), TOGETHER], title="layer", axis=axis)


def _types(grid: Mapping[str, Any]) -> alt.Y:
    """The axis of types of matrices."""
    axis = alt.Axis(ticks=False, domain=False, labelLimit=260)
    return alt.Y("type:N", sort=[*grid["types"], TOGETHER], title=None, axis=axis)


def _cells(grid: Mapping[str, Any], values: Values) -> list[dict[str, Any]]:
    return [
        {"layer": str(layer), "type": kind, "value": value}
        for layer, row in zip(grid["layers"], values, strict=True)
        for kind, value in zip(grid["types"], row, strict=True)
        if value is not None
    ]


def _totals(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A last row for all types of a layer together, and a last column for all layers."""
    below = zip(map(str, grid["layers"]), grid["by_layer"], strict=True)
    aside = zip(grid["types"], grid["by_type"], strict=True)
    return [
        *({"layer": layer, "type": TOGETHER, "value": value} for layer, value in below),
        *({"layer": TOGETHER, "type": kind, "value": value} for kind, value in aside),
    ]
