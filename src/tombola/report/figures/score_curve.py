"""One picture of a search: score against sparsity, beside dense and the controls.

The tickets' scores lie over their sparsities. The controls, all at the final sparsity, stand
side by side in a strip to the right, so that none hides another; every name stands at the right
edge, level with its score or joined to it by a thin line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from scipy.optimize import isotonic_regression

from tombola.base.rounding import decimals
from tombola.report.figures.series import Content, Series, read
from tombola.report.figures.style import DENSE, INK, dressed, save_chart

__all__ = ["draw", "save"]

# All lengths are in pixels of a picture about 640 wide.
PATH_WIDTH = 310
HEIGHT = 330
LANE = 18
GAP = 16
EDGE = 12
LABEL_AT = 24

LETTERS = 65
"""So long a title still fits on one line."""

# Okabe and Ito's palette, told apart with any colour vision; shapes tell the same story twice.
LOOKS = {
    "dense": (DENSE, "circle"),
    "IMP": ("#0072B2", "circle"),
    "random": ("#D55E00", "square"),
    "layer-random": ("#E69F00", "diamond"),
    "one-shot": ("#009E73", "triangle-up"),
    "reinit": ("#CC79A7", "triangle-down"),
    "shuffle": ("#56B4E9", "cross"),
}
OTHER = ("#000000", "triangle-right")


@dataclass(frozen=True)
class Frame:
    """The plot's scales: sparsity in percent to the right, points upward."""

    final: float
    low: float
    high: float
    lanes: int
    metric: str

    @property
    def strip(self) -> float:
        """Width of the strip of controls, which has room for its heading."""
        return max(self.lanes, 3) * LANE + EDGE if self.lanes else 0.0

    @property
    def width(self) -> float:
        return PATH_WIDTH + self.strip

    def sparsity_at(self, pixel: float) -> float:
        """The sparsity whose place is so many pixels from the left."""
        return self.final * pixel / (PATH_WIDTH - EDGE)

    def lane(self, number: int) -> float:
        """The sparsity at whose place the strip's lane of that number has its middle."""
        return self.sparsity_at(PATH_WIDTH + EDGE / 2 + (number + 0.5) * LANE)

    @property
    def x(self) -> alt.X:
        step = 10 if self.final >= 25 else 5 if self.final >= 10 else 1
        return alt.X(
            "x:Q",
            title="sparsity (%)",
            scale=alt.Scale(domain=[0, self.sparsity_at(self.width)], nice=False, zero=False),
            axis=alt.Axis(
                values=list(range(0, floor(self.final) + 1, step)),
                grid=False,
                labelFlush=False,
                titleX=(PATH_WIDTH - EDGE) / 2,
                titleAnchor="middle",
            ),
        )

    @property
    def y(self) -> alt.Y:
        return alt.Y(
            "y:Q",
            title=f"{self.metric} (points)",
            scale=alt.Scale(domain=[self.low, self.high], nice=False, zero=False),
            axis=alt.Axis(tickCount=6),
        )


def draw(result: Mapping[str, Any]) -> alt.LayerChart:
    """The picture of one search.

    Args:
        result: what `tombola find --json` prints; scores in points, sparsities as fractions.
            A score that is null or NaN belongs to a run that failed, and is left out.

    Raises: SpecError, if there is no score at all.
    """
    content = read(result)
    frame = _frame(content, str(result["metric"]))
    layers = [
        *_strip(content, frame),
        *_dense(content, frame),
        *_labels(content, frame),
        *_tickets(content, frame),
        *_controls(content, frame),
    ]
    chart: alt.LayerChart = dressed(
        alt.layer(*layers).properties(
            width=frame.width, height=HEIGHT, title=_title(result), background="white"
        )
    )
    return chart


def save(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write scores.svg and scores.png, the latter at twice the size for sharp screens.

    Args:
        result: as for draw().
        folder: where to; made if need be. Each file is written aside and renamed when whole.

    Returns: the two paths.
    Raises: OutputError, if the folder can't be written to.
    """
    return save_chart(draw(result), folder, "scores")


def _frame(content: Content, metric: str) -> Frame:
    """Scales that hold every score, spread and the margin, and not zero for its own sake."""
    series = [*content.tickets, *content.controls, *([content.dense] if content.dense else [])]
    ends = [end for s in series for end in (*s.scores, s.mean - s.sd, s.mean + s.sd)]
    if content.dense and content.margin is not None:
        ends.append(content.dense.mean - content.margin)
    low, high = min(ends), max(ends)
    pad = max(0.06 * (high - low), 0.5)
    final = max((s.sparsity for s in series), default=0.0)
    return Frame(final or 100.0, low - pad, high + pad, len(content.controls), metric)


def _lines(content: Content, frame: Frame) -> dict[str, float]:
    """Label -> score of the horizontal dotted lines; the trivial one only where it is in sight."""
    lines = {}
    if content.dense and content.margin is not None:
        label = f"margin (dense \N{MINUS SIGN} {content.margin:g})"
        lines[label] = content.dense.mean - content.margin
    if content.trivial is not None and frame.low < content.trivial < frame.high:
        lines[f"trivial {content.trivial:.1f}"] = content.trivial
    return lines


def _looks(series: Series) -> tuple[str, str]:
    return LOOKS.get(series.name, OTHER)


def _data(rows: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _strip(content: Content, frame: Frame) -> list[alt.Chart]:
    """The ground of the controls, and their heading below the plot."""
    if not content.controls:
        return []
    edges = [frame.sparsity_at(PATH_WIDTH), frame.sparsity_at(frame.width)]
    ground = (
        _data([{"x": edges[0], "x2": edges[1]}])
        .mark_rect(color="#f4f4f4")
        .encode(x=frame.x, x2="x2:Q", y=alt.value(0), y2=alt.value(HEIGHT))
    )
    heading = (
        _data([{"x": sum(edges) / 2}])
        .mark_text(
            text=["controls", f"at {content.controls[0].sparsity:.5g} %"],
            baseline="top",
            color=INK,
            fontSize=12,
            lineHeight=15,
        )
        .encode(x=frame.x, y=alt.value(HEIGHT + 8))
    )
    return [ground, heading]


def _dense(content: Content, frame: Frame) -> list[alt.Chart]:
    """A band of one standard deviation about a line, its seeds, and the other horizontal lines."""
    edges = {"x": 0.0, "x2": frame.sparsity_at(frame.width)}
    layers = []
    if content.dense:
        mean, sd = content.dense.mean, content.dense.sd
        layers += [
            _data([{**edges, "y": mean - sd, "y2": mean + sd}])
            .mark_rect(color=DENSE, opacity=0.22)
            .encode(x=frame.x, x2="x2:Q", y=frame.y, y2="y2:Q"),
            _data([{**edges, "y": mean}])
            .mark_rule(color=DENSE, strokeWidth=1.5)
            .encode(x=frame.x, x2="x2:Q", y=frame.y),
        ]
        if len(content.dense.scores) > 1:
            layers.append(_seeds(content.dense, 0.0, frame, 5))
    layers.append(
        _data([{**edges, "y": score} for score in _lines(content, frame).values()])
        .mark_rule(color=DENSE, strokeWidth=1.2, strokeDash=[2, 3])
        .encode(x=frame.x, x2="x2:Q", y=frame.y)
    )
    return layers


def _tickets(content: Content, frame: Frame) -> list[alt.Chart]:
    """A line through the rounds' means, and their marks."""
    size, aside = (45, -5) if len(content.tickets) <= 12 else (25, 0)
    path = [{"x": series.sparsity, "y": series.mean} for series in content.tickets]
    line = _data(path).mark_line(color=LOOKS["IMP"][0], strokeWidth=2).encode(x=frame.x, y=frame.y)
    marks = [
        mark
        for series in content.tickets
        for mark in _marks(series, series.sparsity, frame, size, aside)
    ]
    return [line, *marks]


def _controls(content: Content, frame: Frame) -> list[alt.Chart]:
    return [
        mark
        for number, series in enumerate(content.controls)
        for mark in _marks(series, frame.lane(number), frame, 70, -5)
    ]


def _marks(series: Series, x: float, frame: Frame, size: int, aside: int) -> list[alt.Chart]:
    """The mean, and of several seeds each score, faint, and a standard deviation as whiskers.

    Args:
        series: whose scores.
        x: their place, as a sparsity in percent.
        frame: the scales.
        size: area of the mean's mark, in square pixels.
        aside: pixels by which single scores stand to the right of their place.
    """
    colour, shape = _looks(series)
    mean = (
        _data([{"x": x, "y": series.mean}])
        .mark_point(color=colour, shape=shape, filled=True, size=size, opacity=1)
        .encode(x=frame.x, y=frame.y)
    )
    if len(series.scores) == 1:
        return [mean]
    whiskers = (
        _data([{"x": x, "y": series.mean - series.sd, "y2": series.mean + series.sd}])
        .mark_rule(color=colour, strokeWidth=1.5)
        .encode(x=frame.x, y=frame.y, y2="y2:Q")
    )
    return [whiskers, _seeds(series, x, frame, aside), mean]


def _seeds(series: Series, x: float, frame: Frame, aside: int) -> alt.Chart:
    dots = _data([{"x": x, "y": score} for score in series.scores]).mark_point(
        color=_looks(series)[0], filled=True, size=16, opacity=0.45, xOffset=aside
    )
    chart: alt.Chart = dots.encode(x=frame.x, y=frame.y)
    return chart


def _labels(content: Content, frame: Frame) -> list[alt.Chart]:
    """Each name at the right edge, moved no further than needed to be read, on a thin line."""
    rows = []  # label, score, colour, and where its thin line begins
    edge = frame.sparsity_at(frame.width)
    if content.dense:
        rows.append((content.dense.label, content.dense.mean, DENSE, edge))
    rows += [(label, score, DENSE, edge) for label, score in _lines(content, frame).items()]
    for series in content.tickets[-1:]:
        rows.append((series.label, series.mean, _looks(series)[0], series.sparsity))
    for number, series in enumerate(content.controls):
        rows.append((series.label, series.mean, _looks(series)[0], frame.lane(number)))
    rows.sort(key=lambda row: row[1])
    places = _apart([row[1] for row in rows], GAP * (frame.high - frame.low) / HEIGHT, frame)
    layers = []
    for (label, score, colour, start), place in zip(rows, places, strict=True):
        joint = frame.sparsity_at(frame.width + LABEL_AT - 4)
        leader = [{"x": start, "y": score}, {"x": edge, "y": score}, {"x": joint, "y": place}]
        layers += [
            _data(leader)
            .mark_line(color=colour, strokeWidth=0.8, opacity=0.8)
            .encode(x=frame.x, y=frame.y),
            _data([{"x": frame.sparsity_at(frame.width + LABEL_AT), "y": place}])
            .mark_text(text=label, align="left", baseline="middle", color=INK, fontSize=12)
            .encode(x=frame.x, y=frame.y),
        ]
    return layers


def _apart(scores: Sequence[float], gap: float, frame: Frame) -> list[float]:
    """Rising places, a gap apart and inside the plot, with the least squared moves from scores."""
    steps = min(gap, (frame.high - frame.low) / max(1, len(scores))) * np.arange(len(scores))
    places = isotonic_regression(np.asarray(scores) - steps).x
    return list(np.clip(places, frame.low, frame.high - steps[-1]) + steps)


def _title(result: Mapping[str, Any]) -> alt.TitleParams:
    """What was measured, what came out, and how to read it."""
    seeds = len(result["dense"]["values"])
    count = "1 seed, this run only" if seeds == 1 else f"{seeds} seeds"
    what = f"IMP on {result['task']}, {Path(str(result['model'])).name}:"
    how = f"{result['metric']} on the {result['split']} split"
    reading = ["faint: one seed; line: mean; whiskers and band: one standard deviation"]
    return alt.TitleParams(
        f"{what} {how}" if len(what + how) <= LETTERS else [what, how],
        subtitle=[count + _outcome(result.get("verdict") or {}), *(reading if seeds > 1 else [])],
        anchor="start",
        frame="group",
        fontSize=15,
        subtitleFontSize=12,
        color=INK,
        subtitleColor="#666666",
        subtitlePadding=5,
        offset=12,
        limit=570,
    )


def _outcome(verdict: Mapping[str, Any]) -> str:
    if not verdict.get("status"):
        return ""
    sparsity = verdict.get("sparsity")
    at = "" if sparsity is None else f" at {100 * float(sparsity):.5g} %"
    told = f"; {verdict['status']}{at}"
    if verdict.get("reason"):
        return f"{told}: {verdict['reason']}"
    if not verdict.get("interval"):
        return told
    digits = decimals(tuple(verdict["interval"]), verdict.get("margin", 0.0))
    low, high = (_signed(end, digits) for end in verdict["interval"])
    level = f", {100 * verdict['level']:g} % interval" if verdict.get("level") else ""
    return f"{told} (ticket \N{MINUS SIGN} dense: {low} to {high}{level})"


def _signed(points: float, digits: int) -> str:
    return f"{points:+z.{digits}f}".replace("-", "\N{MINUS SIGN}")
