"""A transfer matrix as a heat map: sources downward, targets to the right."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from tombola.base.rounding import percent
from tombola.report.figures.style import INK, chart_of
from tombola.report.numerals import points

__all__ = ["transfer_map"]


def transfer_map(matrix: Mapping[str, Any]) -> Any:
    """How far tickets of each source are from dense on each target.

    Args:
        matrix: one of `row_facts`.
    """
    rows = [
        {
            "source": row["source"],
            "target": place["target"],
            "change": place["minus_dense"]["mean"],
            "text": points(place["minus_dense"]["mean"], signed=True, digits=1),
        }
        for row in matrix["sources"]
        for place in row["places"]
        if place["minus_dense"]["mean"] is not None
    ]
    size = max((abs(row["change"]) for row in rows), default=0.0) or 1.0
    source = f"ticket of, at {percent(matrix['sparsity'])}"
    base = chart_of(rows).encode(
        x=alt.X("target:N", sort=None, title="trained on", axis=_axis(orient="top", labelAngle=0)),
        y=alt.Y("source:N", sort=None, title=source, axis=_axis()),
    )
    colour = alt.Color(
        "change:Q",
        scale=alt.Scale(scheme="redblue", domain=[-size, size], domainMid=0),
        legend=None,
    )
    strong = f"abs(datum.change) > {0.6 * size}"
    numbers = base.mark_text(fontSize=7).encode(
        text="text:N", color=alt.condition(strong, alt.value("white"), alt.value(INK))
    )
    return alt.layer(base.mark_rect(stroke="white").encode(color=colour), numbers)


def _axis(**more: Any) -> alt.Axis:
    return alt.Axis(ticks=False, domain=False, **more)
