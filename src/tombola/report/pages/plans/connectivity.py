"""The section on the lines between runs in different data orders."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.report.figures import connectivity
from tombola.report.figures.style import svg
from tombola.report.numerals import MISSING, points
from tombola.report.pages.page import Picture, Section, Table

__all__ = ["connectivity_sections"]


def connectivity_sections(lines: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The barriers, and a picture of the lines that are done.

    Args:
        lines: `study.masks.barriers.ConnectivityLine`s as JSON.
    """
    if not lines:
        return []
    rows = [
        (
            *(line["network"], line["task"], percent(line["sparsity"] or 0), str(line["seed"])),
            points(line["score_barrier"]),
            MISSING if line["loss_barrier"] is None else f"{line['loss_barrier']:.4f}",
        )
        for line in lines
    ]
    table = Table(
        ("network", "task", "sparsity", "seed", "score barrier", "loss barrier"),
        rows,
        caption="Barrier: the worst network on the straight line between two runs that differ in "
        "their data order, ends included, compared with the mean of the two ends (Frankle et al. "
        "2020). It is at least half of the difference between the ends.",
        right=frozenset((2, 3, 4, 5)),
    )
    drawn = []
    if any(line["positions"] for line in lines):
        drawn = [Picture(svg(connectivity.draw(lines)), "Score and loss along the lines.")]
    return [Section("Connectivity", pictures=drawn, tables=[table])]
