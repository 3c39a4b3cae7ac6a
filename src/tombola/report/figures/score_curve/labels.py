"""Names at the right edge of a score curve, and the reference lines that they name."""

from collections.abc import Sequence

import altair as alt
import numpy as np
from scipy.optimize import isotonic_regression

from tombola.report.figures.score_curve.frame import GAP, HEIGHT, LABEL_AT, Frame
from tombola.report.figures.score_curve.looks import TICKET, look_of
from tombola.report.figures.score_curve.series import Content
from tombola.report.figures.style import DENSE, INK, chart_of
from tombola.report.numerals import MINUS, points

__all__ = ["label_layers", "reference_lines"]


def reference_lines(content: Content, frame: Frame) -> dict[str, float]:
    """Label -> score of the horizontal dotted lines; the trivial one only where it is in sight."""
    lines = {}
    if content.dense and content.margin is not None:
        label = f"margin (dense {MINUS} {content.margin:g})"
        lines[label] = content.dense.mean - content.margin
    if content.trivial is not None and frame.low < content.trivial < frame.high:
        lines[f"trivial {points(content.trivial, digits=1)}"] = content.trivial
    return lines


def label_layers(content: Content, frame: Frame) -> list[alt.Chart]:
    """Each name at the right edge, moved no further than needed to be read, on a thin line."""
    rows = []  # label, score, colour, and where its thin line begins
    edge = frame.sparsity_at(frame.width)
    if content.dense:
        rows.append((content.dense.label, content.dense.mean, DENSE, edge))
    rows += [
        (label, score, DENSE, edge) for label, score in reference_lines(content, frame).items()
    ]
    for series in content.tickets[-1:]:
        rows.append((series.label, series.mean, TICKET[0], series.sparsity))
    for number, series in enumerate(content.controls):
        rows.append((series.label, series.mean, look_of(series.name)[0], frame.lane(number)))
    rows.sort(key=lambda row: row[1])
    places = _apart([row[1] for row in rows], GAP * (frame.high - frame.low) / HEIGHT, frame)
    return [
        layer
        for (label, score, colour, start), place in zip(rows, places, strict=True)
        for layer in _label(label, [(start, score), (edge, score)], place, colour, frame)
    ]


def _label(
    text: str, line: Sequence[tuple[float, float]], place: float, colour: str, frame: Frame
) -> list[alt.Chart]:
    """A label and the thin line that leads to it."""
    joint = frame.sparsity_at(frame.width + LABEL_AT - 4), place
    leader = chart_of([{"x": x, "y": y} for x, y in (*line, joint)])
    name = chart_of([{"x": frame.sparsity_at(frame.width + LABEL_AT), "y": place}])
    return [
        leader.mark_line(color=colour, strokeWidth=0.8, opacity=0.8).encode(x=frame.x, y=frame.y),
        name.mark_text(text=text, align="left", baseline="middle", color=INK, fontSize=12).encode(
            x=frame.x, y=frame.y
        ),
    ]


def _apart(scores: Sequence[float], gap: float, frame: Frame) -> list[float]:
    """Rising places, a gap apart and inside the plot, with the least squared moves from scores."""
    steps = min(gap, (frame.high - frame.low) / max(1, len(scores))) * np.arange(len(scores))
    places = isotonic_regression(np.asarray(scores) - steps).x
    return list(np.clip(places, frame.low, frame.high - steps[-1]) + steps)
