"""Score against sparsity, next to dense and the controls.

The tickets' scores lie over their sparsities. The controls, all at the final sparsity, stand
side by side in a strip to the right, so that none hides another; every name stands at the right
edge, level with its score or joined to it by a thin line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt

from tombola.base.rounding import percent
from tombola.report.figures.score_curve.frame import HEIGHT, PATH_WIDTH, Frame
from tombola.report.figures.score_curve.labels import label_layers, reference_lines
from tombola.report.figures.score_curve.looks import TICKET, Look, look_of
from tombola.report.figures.score_curve.series import Content, Series, read
from tombola.report.figures.score_curve.title import title
from tombola.report.figures.style import DENSE, INK, chart_of, save_chart, styled

__all__ = ["draw", "save"]


def draw(result: Mapping[str, Any], finder: str = "IMP") -> alt.LayerChart:
    """The picture of one search.

    Args:
        result: what `tombola find --json` prints; scores in points, sparsities as fractions.
            A score that is null or NaN belongs to a run that failed, and is left out.
        finder: what found the tickets, as labels call it.

    Raises: SpecError, if there is no score at all.
    """
    content = read(result, finder)
    frame = Frame.of(content, str(result["metric"]))
    layers = [
        *_strip(content, frame),
        *_dense(content, frame),
        *label_layers(content, frame),
        *_tickets(content, frame),
        *_controls(content, frame),
    ]
    chart: alt.LayerChart = styled(
        alt.layer(*layers).properties(
            width=frame.width, height=HEIGHT, title=title(result, finder), background="white"
        )
    )
    return chart


def save(result: Mapping[str, Any], folder: Path, finder: str = "IMP") -> list[Path]:
    """Write scores.svg and scores.png, the latter at twice the size for sharp screens.

    Args:
        result: the result, as for draw().
        folder: created if it is missing. Each file appears under its name only when complete.
        finder: what found the tickets, as for draw().

    Returns: the two paths.
    Raises: OutputError, if the folder can't be written to.
    """
    return save_chart(draw(result, finder), folder, "scores")


def _strip(content: Content, frame: Frame) -> list[alt.Chart]:
    """The background of the controls, and their heading below the plot."""
    if not content.controls:
        return []
    edges = [frame.sparsity_at(PATH_WIDTH), frame.sparsity_at(frame.width)]
    background = (
        chart_of([{"x": edges[0], "x2": edges[1]}])
        .mark_rect(color="#f4f4f4")
        .encode(x=frame.x, x2="x2:Q", y=alt.value(0), y2=alt.value(HEIGHT))
    )
    heading = (
        chart_of([{"x": sum(edges) / 2}])
        .mark_text(
            text=["controls", f"at {percent(content.controls[0].sparsity / 100)}"],
            baseline="top",
            color=INK,
            fontSize=12,
            lineHeight=15,
        )
        .encode(x=frame.x, y=alt.value(HEIGHT + 8))
    )
    return [background, heading]


def _dense(content: Content, frame: Frame) -> list[alt.Chart]:
    """A band of one standard deviation about a line, its seeds, and the reference lines."""
    edges = {"x": 0.0, "x2": frame.sparsity_at(frame.width)}
    layers = []
    if content.dense:
        mean, sd = content.dense.mean, content.dense.sd
        layers += [
            chart_of([{**edges, "y": mean - sd, "y2": mean + sd}])
            .mark_rect(color=DENSE, opacity=0.22)
            .encode(x=frame.x, x2="x2:Q", y=frame.y, y2="y2:Q"),
            chart_of([{**edges, "y": mean}])
            .mark_rule(color=DENSE, strokeWidth=1.5)
            .encode(x=frame.x, x2="x2:Q", y=frame.y),
        ]
        if len(content.dense.scores) > 1:
            layers.append(_seeds(content.dense, 0.0, frame, DENSE, 5))
    layers.append(
        chart_of([{**edges, "y": score} for score in reference_lines(content, frame).values()])
        .mark_rule(color=DENSE, strokeWidth=1.2, strokeDash=[2, 3])
        .encode(x=frame.x, x2="x2:Q", y=frame.y)
    )
    return layers


def _tickets(content: Content, frame: Frame) -> list[alt.Chart]:
    """A line through the rounds' means, and their marks."""
    size, aside = (45, -5) if len(content.tickets) <= 12 else (25, 0)
    path = [{"x": series.sparsity, "y": series.mean} for series in content.tickets]
    line = chart_of(path).mark_line(color=TICKET[0], strokeWidth=2).encode(x=frame.x, y=frame.y)
    marks = [
        mark
        for series in content.tickets
        for mark in _marks(series, series.sparsity, frame, TICKET, size=size, aside=aside)
    ]
    return [line, *marks]


def _controls(content: Content, frame: Frame) -> list[alt.Chart]:
    return [
        mark
        for number, series in enumerate(content.controls)
        for mark in _marks(
            series, frame.lane(number), frame, look_of(series.name), size=70, aside=-5
        )
    ]


def _marks(
    series: Series, x: float, frame: Frame, look: Look, *, size: int, aside: int
) -> list[alt.Chart]:
    """The mean, and of several seeds each score, faint, and a standard deviation as whiskers.

    Args:
        series: the series whose scores are drawn.
        x: their place, as a sparsity in percent.
        frame: the scales.
        look: colour and shape.
        size: area of the mean's mark, in square pixels.
        aside: pixels by which single scores stand to the right of their place.
    """
    colour, shape = look
    mean = (
        chart_of([{"x": x, "y": series.mean}])
        .mark_point(color=colour, shape=shape, filled=True, size=size, opacity=1)
        .encode(x=frame.x, y=frame.y)
    )
    if len(series.scores) == 1:
        return [mean]
    whiskers = (
        chart_of([{"x": x, "y": series.mean - series.sd, "y2": series.mean + series.sd}])
        .mark_rule(color=colour, strokeWidth=1.5)
        .encode(x=frame.x, y=frame.y, y2="y2:Q")
    )
    return [whiskers, _seeds(series, x, frame, colour, aside), mean]


def _seeds(series: Series, x: float, frame: Frame, colour: str, aside: int) -> alt.Chart:
    dots = chart_of([{"x": x, "y": score} for score in series.scores]).mark_point(
        color=colour, filled=True, size=16, opacity=0.45, xOffset=aside
    )
    chart: alt.Chart = dots.encode(x=frame.x, y=frame.y)
    return chart
