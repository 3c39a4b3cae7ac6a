"""The title of a score curve: what was measured, what came out, and how to read it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt

from tombola.base.rounding import decimals, percent
from tombola.base.text import counted
from tombola.report.figures.style import INK
from tombola.report.numerals import MINUS, interval

__all__ = ["title"]

LETTERS = 65
"""Length of the longest title that fits on one line."""
READING = "faint: one seed; line: mean; whiskers and band: one standard deviation"


def title(result: Mapping[str, Any], finder: str) -> alt.TitleParams:
    """The title of a search's picture.

    Args:
        result: the result, as for `chart.draw`.
        finder: what found the tickets.
    """
    seeds = len(result["dense"]["values"])
    count = counted(seeds, "seed") + (", this run only" if seeds == 1 else "")
    named = finder[:1].upper() + finder[1:]
    what = f"{named} on {result['task']}, {Path(str(result['model'])).name}:"
    how = f"{result['metric']} on the {result['split']} split"
    outcome = _outcome(result.get("verdict") or {})
    return alt.TitleParams(
        f"{what} {how}" if len(what + how) <= LETTERS else [what, how],
        subtitle=["; ".join(filter(None, (count, outcome))), *([READING] if seeds > 1 else [])],
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
    """A verdict in a few words; nothing without one."""
    if not verdict.get("status"):
        return ""
    sparsity = verdict.get("sparsity")
    status = str(verdict["status"]) + ("" if sparsity is None else f" at {percent(sparsity)}")
    if verdict.get("reason"):
        return f"{status}: {verdict['reason']}"
    if not verdict.get("interval"):
        return status
    low, high = verdict["interval"]
    ends = interval((low, high), digits=decimals((low, high), verdict.get("margin", 0.0)))
    level = f", {percent(verdict['level'])} interval" if verdict.get("level") else ""
    return f"{status} (ticket {MINUS} dense: {ends}{level})"
