"""Score and loss along the lines between runs in different data orders, dense and sparse."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt

from tombola.base.errors import SpecError
from tombola.base.rounding import percent
from tombola.base.text import counted
from tombola.report.figures.style import (
    BLUE,
    DENSE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    chart_of,
    save_chart,
    styled,
)

__all__ = ["draw", "save"]

WIDTH, HEIGHT = 260, 170
COLOURS = {"dense": DENSE, "imp": BLUE, "one-shot": GREEN}
OTHERS = (VERMILION, PURPLE, ORANGE, SKY_BLUE)
LEAST_PAD = {"scores": 0.5, "losses": 0.005}
"""The least that an axis shows below and above its values."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
"""Dashes of the sparsities of one kind of network, from the densest."""

Looks = Mapping[str, tuple[str, list[int]]]
"""Name of a network -> colour and dashes."""


def draw(lines: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Two panels for each task: score to the left, loss to the right.

    Args:
        lines: `study.masks.barriers.ConnectivityLine`s as JSON; those that are not done are left
            out.

    Raises: SpecError, if none is done.
    """
    done = [line for line in lines if line["positions"]]
    if not done:
        raise SpecError("a picture needs at least one line, and none is done. Run the plan first.")
    looks = _looks(done)
    tasks = list(dict.fromkeys(line["task"] for line in done))
    rows = [_task(task, [line for line in done if line["task"] == task], looks) for task in tasks]
    chart: alt.VConcatChart = styled(alt.vconcat(*rows, spacing=24).properties(background="white"))
    return chart


def save(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write connectivity.svg and connectivity.png.

    Raises: SpecError, if no line is done; OutputError, if the folder can't be written to.
    """
    return save_chart(draw(lines), folder, "connectivity")


def _name(line: Mapping[str, Any]) -> str:
    at = "" if line["sparsity"] is None else f" at {percent(line['sparsity'])}"
    return f"{line['network']}{at}"


def _looks(lines: Sequence[Mapping[str, Any]]) -> Looks:
    """Colour by the kind of network, dashes by its sparsity."""
    found: dict[str, tuple[str, list[int]]] = {}
    kinds: list[str] = []
    for line in sorted(lines, key=lambda line: float(line["sparsity"] or 0)):
        if (name := _name(line)) not in found:
            colour = COLOURS.get(line["network"], OTHERS[len(found) % len(OTHERS)])
            found[name] = colour, DASHES[kinds.count(line["network"]) % len(DASHES)]
            kinds.append(line["network"])
    return found


def _task(task: str, lines: Sequence[Mapping[str, Any]], looks: Looks) -> alt.HConcatChart:
    seeds = len({line["seed"] for line in lines})
    faint = "; faint: one seed, strong: mean" if seeds > 1 else ""
    score = _panel(lines, "scores", f"{lines[0]['metric']} (points)", looks)
    loss = _panel(lines, "losses", "loss", looks)
    return alt.hconcat(score, loss, spacing=30).properties(
        title=alt.TitleParams(
            f"{task}: between two runs in different data orders",
            subtitle=f"{counted(seeds, 'seed')}, {lines[0]['split']} split{faint}",
            anchor="start",
            fontSize=15,
            subtitleFontSize=12,
            color=INK,
            subtitleColor="#666666",
        )
    )


def _panel(
    lines: Sequence[Mapping[str, Any]], what: str, title: str, looks: Looks
) -> alt.LayerChart | alt.FacetChart:
    names = list(looks)
    legend = alt.Legend(title=None, labelFontSize=12, symbolStrokeWidth=2, symbolOpacity=1)
    base = (
        chart_of([*_single(lines, what), *_means(lines, what)])
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X(
                "x:Q",
                title="position between the two runs",
                axis=alt.Axis(grid=False, labelFlush=False),
            ),
            y=alt.Y("y:Q", title=title, scale=_scale(lines, what), axis=alt.Axis(tickCount=6)),
            detail="run:N",
            color=alt.Color(
                "name:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[looks[name][0] for name in names]),
                legend=legend,
            ),
            strokeDash=alt.StrokeDash(
                "name:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[looks[name][1] for name in names]),
                legend=legend,
            ),
        )
    )
    mean, one = (base.transform_filter(f"datum.run {sign} 'mean'") for sign in ("==", "!="))
    thin = one.mark_line(strokeWidth=1, opacity=0.35)
    return alt.layer(thin, mean).properties(width=WIDTH, height=HEIGHT)


def _scale(lines: Sequence[Mapping[str, Any]], what: str) -> alt.Scale:
    """A scale that holds every value and doesn't magnify negligible differences."""
    values = [row["y"] for row in _single(lines, what) if row["y"] is not None]
    if not values:
        return alt.Scale(zero=False)
    low, high = min(values), max(values)
    pad = max(0.06 * (high - low), LEAST_PAD[what])
    return alt.Scale(domain=[low - pad, high + pad], nice=False, zero=False)


def _single(lines: Sequence[Mapping[str, Any]], what: str) -> list[dict[str, Any]]:
    return [
        {"name": _name(line), "run": f"{line['arm']} {line['seed']}", "x": x, "y": y}
        for line in lines
        for x, y in zip(line["positions"], line[what], strict=True)
    ]


def _means(lines: Sequence[Mapping[str, Any]], what: str) -> list[dict[str, Any]]:
    """The mean at each position, of the seeds that have a value there."""
    points: dict[tuple[str, float], list[float]] = {}
    for row in _single(lines, what):
        if row["y"] is not None:
            points.setdefault((row["name"], row["x"]), []).append(row["y"])
    return [
        {"name": name, "run": "mean", "x": x, "y": fmean(values)}
        for (name, x), values in points.items()
    ]
