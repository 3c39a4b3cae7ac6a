"""The transfer matrices of a plan as tables, coloured by how far they are from dense."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.rounding import percent
from tombola.report.numerals import MISSING, interval, points
from tombola.report.pages.page import Cell, Number, Section, Table

__all__ = ["transfer_sections"]

AGAINST = (("minus_dense", "dense"), ("minus_same_task", "the target's own ticket"))
STEPS = (1.0, 3.0)
"""Margins below or above zero at which a colour gets stronger."""


def transfer_sections(
    matrices: Sequence[dict[str, Any]],
    margins: Mapping[tuple[str, str], float | None],
    *,
    several: bool,
) -> list[Section]:
    """Two tables for each matrix: minus dense, and minus the target's own tickets.

    Args:
        matrices: those of `row_facts`.
        margins: plan and task -> the margin, in points, if it is known.
        several: whether they are of several plans, which captions then name.
    """
    if several:
        matrices = [matrix | {"arm": f"{matrix['plan']}, {matrix['arm']}"} for matrix in matrices]
    tables = [
        _matrix(matrix, field, what, margins) for matrix in matrices for field, what in AGAINST
    ]
    if not tables:
        return []
    said = [
        f"{matrix['arm']} at {percent(matrix['sparsity'])}, from {row['source']}: "
        f"{row['sentence']}."
        for matrix in matrices
        for row in matrix["sources"]
    ]
    return [Section("Transfer", points=said, tables=tables)]


def _matrix(
    matrix: Mapping[str, Any],
    field: str,
    what: str,
    margins: Mapping[tuple[str, str], float | None],
) -> Table:
    sources = matrix["sources"]
    targets = list(dict.fromkeys(place["target"] for row in sources for place in row["places"]))
    rows = []
    for row in sources:
        places = {place["target"]: place[field] for place in row["places"]}
        cells = (
            _estimate(places.get(target), margins[matrix["plan"], target]) for target in targets
        )
        rows.append((row["source"], *cells))
    return Table(
        ("from", *targets),
        rows,
        caption=f"Arm {matrix['arm']}, tickets at {percent(matrix['sparsity'])}: score minus "
        f"{what}, in points, with the 90 % interval over seeds. Columns are targets. Orange: "
        "below, blue: above, strong from three margins on.",
        right=frozenset(range(1, len(targets) + 1)),
    )


def _estimate(found: Mapping[str, Any] | None, margin: float | None) -> Cell:
    if found is None or found["mean"] is None:
        return "diverged" if found and found["diverged"] else MISSING
    mean = points(found["mean"], signed=True)
    ends = f" ({interval(found['interval'])})" if found["interval"] else ""
    text = "; ".join(filter(None, (f"{mean}{ends}", found["reason"])))
    return Number(text, found["places"], tint=_tint(found["mean"], margin))


def _tint(difference: float, margin: float | None) -> str:
    """The class of a difference: nearly none, or one of three steps to either side; none without a
    margin."""
    if margin is None:
        return ""
    size = abs(difference) / margin if margin else float(bool(difference)) * STEPS[-1]
    if size < STEPS[0] / 2:
        return "even"
    return f"{'below' if difference < 0 else 'above'}-{1 + sum(size >= step for step in STEPS)}"
