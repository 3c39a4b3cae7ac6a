"""What all figures share: fonts, colours of axes, and how they become files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from tombola.base.files import write_bytes
from tombola.base.text import lines

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "DENSE",
    "GREEN",
    "INK",
    "ORANGE",
    "PURPLE",
    "SKY_BLUE",
    "VERMILION",
    "chart_of",
    "save_chart",
    "styled",
    "svg",
]

INK = "#333333"
DENSE = "#777777"
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY_BLUE, BLACK = "#E69F00", "#56B4E9", "#000000"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
"""Okabe and Ito's palette, distinct in any colour vision."""


def chart_of(rows: Sequence[Mapping[str, object]]) -> alt.Chart:
    """A chart of some rows, whose marks and axes are still to be chosen."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def styled(chart: Any) -> Any:
    """A chart in the project's fonts and colours."""
    return chart.configure(
        font="Liberation Sans, Arial, Helvetica, sans-serif",
        padding=10,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK,
            titleColor=INK,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            gridColor="#ececec",
            domainColor="#999999",
            tickColor="#999999",
        ),
    )


def svg(chart: alt.LayerChart | alt.VConcatChart) -> str:
    """A chart as one SVG element; nothing is fetched for it."""
    plain = _printable(chart.to_dict(validate=False))  # what types and tests check already
    return vl_convert.vegalite_to_svg(plain, allowed_base_urls=[])


def _printable(value: Any) -> Any:
    """A chart with the invisible characters in its texts escaped, which SVG can't hold.

    Vega reads a backslash in a title as an escape, so another character replaces it.
    """
    if isinstance(value, dict):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return lines(value).replace("\\", "\N{SET MINUS}") if isinstance(value, str) else value


def save_chart(chart: alt.LayerChart | alt.VConcatChart, folder: Path, name: str) -> list[Path]:
    """Write NAME.svg and NAME.png, the latter at twice the size for sharp screens.

    Raises: OutputError, if the folder can't be written to.
    """
    drawn = svg(chart)
    files = {".svg": drawn.encode(), ".png": vl_convert.svg_to_png(drawn, scale=2)}
    return [write_bytes(folder / f"{name}{end}", content) for end, content in files.items()]
