"""Score and loss along the lines between runs in different data orders, dense beside sparse."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt

from tombola.base.errors import SpecError
from tombola.report.figures.style import DENSE, INK, dressed, save_chart

__all__ = ["draw", "save"]

WIDTH, HEIGHT = 260, 170
COLOURS = {"dense": DENSE, "imp": "#0072B2", "one-shot": "#009E73"}
OTHERS = ("#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
"""Of the sparsities of one kind of network, from the densest."""


def draw(lines: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Two panels a task: score to the left, loss to the right.

    Args:
        lines: as `study.lines.Line` has them; those that are not done are left out.

    Raises: SpecError, if none is done.
    """
    done = [line for line in lines if line["positions"]]
    if not done:
        raise SpecError("a picture needs at least one line, and none is done. Run the plan first.")
    looks = _looks(done)
    tasks = list(dict.fromkeys(line["task"] for line in done))
    rows = [_task(task, [line for line in done if line["task"] == task], looks) for task in tasks]
    chart: alt.VConcatChart = dressed(alt.vconcat(*rows, spacing=24).properties(background="white"))
    return chart


def save(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write connectivity.svg and connectivity.png.

    Raises: SpecError, if no line is done; OutputError, if the folder can't be written to.
    """
    return save_chart(draw(lines), folder, "connectivity")


def _name(line: Mapping[str, Any]) -> str:
    at = "" if line["sparsity"] is None else f" at {100 * float(line['sparsity']):g} %"
    return f"{line['network']}{at}"


def _looks(lines: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, list[int]]]:
    """Name of a network -> colour and dashes."""
    found: dict[str, tuple[str, list[int]]] = {}
    for line in sorted(lines, key=lambda line: float(line["sparsity"] or 0)):
        if (name := _name(line)) not in found:
            same = sum(each.partition(" at ")[0] == line["network"] for each in found)
            colour = COLOURS.get(line["network"], OTHERS[len(found) % len(OTHERS)])
            found[name] = colour, DASHES[same % len(DASHES)]
    return found


def _task(
    task: str, lines: Sequence[Mapping[str, Any]], looks: Mapping[str, tuple[str, list[int]]]
) -> alt.HConcatChart:
    seeds = len({line["seed"] for line in lines})
    faint = "; faint: one seed, strong: mean" if seeds > 1 else ""
    score = _panel(lines, "scores", f"{lines[0]['metric']} (points)", looks)
    loss = _panel(lines, "losses", "loss", looks)
    return alt.hconcat(score, loss, spacing=30).properties(
        title=alt.TitleParams(
            f"{task}: between two runs in different data orders",
            subtitle=f"{seeds} seed{'s' * (seeds > 1)}, {lines[0]['split']} split{faint}",
            anchor="start",
            fontSize=15,
            subtitleFontSize=12,
            color=INK,
            subtitleColor="#666666",
        )
    )


def _panel(
    lines: Sequence[Mapping[str, Any]],
    what: str,
    title: str,
    looks: Mapping[str, tuple[str, list[int]]],
) -> alt.LayerChart | alt.FacetChart:
    names = list(looks)
    data = alt.InlineData(values=[*_single(lines, what), *_means(lines, what)])
    base = (
        alt.Chart(data)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("x:Q", title="position between the two runs", axis=alt.Axis(grid=False)),
            y=alt.Y("y:Q", title=title, scale=alt.Scale(zero=False)),
            detail="run:N",
            color=alt.Color(
                "name:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[looks[name][0] for name in names]),
                legend=alt.Legend(
                    title=None, labelFontSize=12, symbolStrokeWidth=2, symbolOpacity=1
                ),
            ),
            strokeDash=alt.StrokeDash(
                "name:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[looks[name][1] for name in names]),
                legend=alt.Legend(title=None, labelFontSize=12),
            ),
        )
    )
    mean, one = (base.transform_filter(f"datum.run {sign} 'mean'") for sign in ("==", "!="))
    thin = one.mark_line(strokeWidth=1, opacity=0.35)
    return alt.layer(thin, mean).properties(width=WIDTH, height=HEIGHT)


def _single(lines: Sequence[Mapping[str, Any]], what: str) -> list[dict[str, Any]]:
    return [
        {"name": _name(line), "run": f"{line['arm']} {line['seed']}", "x": x, "y": y}
        for line in lines
        for x, y in zip(line["positions"], line[what], strict=True)
    ]


def _means(lines: Sequence[Mapping[str, Any]], what: str) -> list[dict[str, Any]]:
    """Over the seeds that have a value at a position."""
    points: dict[tuple[str, float], list[float]] = {}
    for row in _single(lines, what):
        if row["y"] is not None:
            points.setdefault((row["name"], row["x"]), []).append(row["y"])
    return [
        {"name": name, "run": "mean", "x": x, "y": fmean(values)}
        for (name, x), values in points.items()
    ]
