"""Rows that were read from a table: each run once, whole plans, and values that can be."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from tombola.errors import SpecError
from tombola.study.compare import group
from tombola.study.row import Row

__all__ = ["check_identities", "check_row"]

BOUNDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "plan_rows": (lambda value: value > 0, "a whole number above 0"),
    "sparsity": (lambda value: 0 <= value < 1, "a fraction in [0, 1)"),
    "seed": (lambda value: value >= 0, "a whole number from 0"),
    "margin": (lambda value: 0 <= value < inf, "a number of points, 0 or more,"),
    "learning_rate": (lambda value: value > 0, "a number above 0"),
    "examples": (lambda value: value >= 0, "a whole number from 0"),
    "resolution": (lambda value: value > 0, "a number of points above 0"),
}
"""Column -> what its value must be, if there is one."""


def check_row(row: Row) -> None:
    """Refuse a row that no run can have.

    Raises: SpecError, with the column alone.
    """
    for name, (holds, expected) in BOUNDS.items():
        value = getattr(row, name)
        if value is not None and not holds(value):
            raise SpecError(f"expected {expected} as {name}, got {value}")
    if (row.state == "done") != (row.score is not None):
        got = "none" if row.score is None else f"{row.score:g}"
        raise SpecError(f"expected a score where the state is done, got {row.state} and {got}")
    for name in ("trivial", "resolution", "numerics"):
        if row.state == "done" and getattr(row, name) is None:
            raise SpecError(f"expected {name} where the state is done, got none")
    if row.dense is not None and row.dense_numerics is None:
        raise SpecError("expected dense_numerics where dense has a score, got none")


def check_identities(table: Sequence[Row], place: str) -> None:
    """Refuse rows that are not those of whole plans, each run once.

    Args:
        table: as it was read.
        place: the file, for errors.

    Raises: SpecError, naming the rows, counted from 1.
    """
    _refuse_repeated(table, place)
    _refuse_contradictions(table, place)
    for plan, count in Counter(row.plan for row in table).items():
        wanted = {row.plan_rows for row in table if row.plan == plan}
        if wanted != {count}:
            told = " and ".join(map(str, sorted(wanted)))
            raise SpecError(
                f"expected all {told} rows of the plan {plan!r} in {place!r}, got {count}. Write "
                "the table again with `tombola table`: a part of a plan proves nothing."
            )


def _refuse_repeated(table: Sequence[Row], place: str) -> None:
    """Of one network, a seed or a run counts once."""
    number = {id(row): place for place, row in enumerate(table, 1)}
    for rows in group(table):
        seen: dict[Any, Row] = {}
        for row in rows:
            names = [("seed", row.seed), ("run", row.key)]
            if row.kind not in ("dense", "connectivity"):
                names.append(("dense run", row.dense_key))
            for what, name in names:
                first = seen.setdefault((what, name), row)
                if first is not row:
                    raise SpecError(
                        f"expected each {what} of {row.name} on {row.target} once in {place!r}, "
                        f"got {str(name)[:12]} in rows {number[id(first)]} and {number[id(row)]}. "
                        "Leave one out."
                    )


def _refuse_contradictions(table: Sequence[Row], place: str) -> None:
    """A run has one score and one arithmetic, wherever it stands."""
    known: dict[str, tuple[int, float, Any]] = {}
    for number, row in enumerate(table, 1):
        for key, score, numerics in (
            (row.key, row.score, row.numerics),
            (row.dense_key, row.dense, row.dense_numerics),
        ):
            if score is None:
                continue
            first, *other = known.setdefault(key, (number, score, numerics))
            if other != [score, numerics]:
                raise SpecError(
                    f"expected one score and one numerics of the run {key[:12]} in {place!r}, got "
                    f"others in row {number} than in row {first}. One of them has been changed."
                )
