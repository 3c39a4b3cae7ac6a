"""What all pictures have in common: letters, colours of axes, and how they become files."""

from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from tombola.ticket.folder import write_bytes

__all__ = ["DENSE", "INK", "dressed", "save_chart", "svg"]

INK = "#333333"
DENSE = "#777777"


def dressed(chart: Any) -> Any:
    """The same chart in the house's letters and colours."""
    return (
        chart.configure(font="Liberation Sans, Arial, Helvetica, sans-serif", padding=10)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            gridColor="#ececec",
            domainColor="#999999",
            tickColor="#999999",
        )
    )


def svg(chart: alt.LayerChart | alt.VConcatChart) -> str:
    """A chart as one SVG element; nothing is fetched for it."""
    return vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])


def save_chart(chart: alt.LayerChart | alt.VConcatChart, folder: Path, name: str) -> list[Path]:
    """Write NAME.svg and NAME.png, the latter at twice the size for sharp screens.

    Raises: OutputError, if the folder can't be written to.
    """
    drawn = svg(chart)
    files = {".svg": drawn.encode(), ".png": vl_convert.svg_to_png(drawn, scale=2)}
    return [write_bytes(folder / f"{name}{end}", content) for end, content in files.items()]
