"""A value for each matrix of a network, as a heat map: layers to the right, types downward."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from tombola.report.figures.style import INK, dressed

__all__ = ["draw"]

CELL = (46, 24)
"""Width and height of a matrix, in pixels."""
TOGETHER = "all"
Values = Sequence[Sequence[float | None]]


def draw(
    grid: Mapping[str, Any], *, title: str, form: str = ".0%", values: Values | None = None
) -> alt.LayerChart:
    """The heat map of one list of blocks.

    Args:
        grid: its layers, types, sparsity, by_layer and by_type, as `study.anatomy.Grid` has them.
        title: what is shown.
        form: how a value is written, as d3 and Python both know it.
        values: [layer][type], from 0 to 1, to show instead of the sparsities; these have no sums,
            and their colours span 0 to 1 instead of what is there.
    """
    rows = _cells(grid, grid["sparsity"] if values is None else values)
    low, high = 0.0, 1.0
    if values is None:
        known = [row["value"] for row in rows]
        low, high = min(known, default=low), max(known, default=high)
        rows += _sums(grid)
    middle = (low + high) / 2
    layers = [str(layer) for layer in grid["layers"]]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "layer:N",
            sort=[*layers, TOGETHER],
            title="layer",
            axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False),
        ),
        y=alt.Y(
            "type:N",
            sort=[*grid["types"], TOGETHER],
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelLimit=260),
        ),
    )
    scale = alt.Scale(scheme="blues", domain=[low, high if high > low else low + 1e-9], clamp=True)
    squares = base.mark_rect(stroke="white", strokeWidth=1.5).encode(
        color=alt.Color("value:Q", scale=scale, legend=None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.Text("value:Q", format=form),
        color=alt.condition(f"datum.value > {middle}", alt.value("white"), alt.value(INK)),
    )
    chart: alt.LayerChart = dressed(
        alt.layer(squares, numbers).properties(
            width=alt.Step(CELL[0]),
            height=alt.Step(CELL[1]),
            background="white",
            title=alt.TitleParams(title, anchor="start", fontSize=13, color=INK, frame="group"),
        )
    )
    return chart


def _cells(grid: Mapping[str, Any], values: Values) -> list[dict[str, Any]]:
    return [
        {"layer": str(layer), "type": kind, "value": value}
        for layer, row in zip(grid["layers"], values, strict=True)
        for kind, value in zip(grid["types"], row, strict=True)
        if value is not None
    ]


def _sums(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A last row for all types of a layer together, and a last column for all layers."""
    below = zip(map(str, grid["layers"]), grid["by_layer"], strict=True)
    aside = zip(grid["types"], grid["by_type"], strict=True)
    return [
        *({"layer": layer, "type": TOGETHER, "value": value} for layer, value in below),
        *({"layer": TOGETHER, "type": kind, "value": value} for kind, value in aside),
    ]
