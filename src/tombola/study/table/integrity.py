"""Checks of rows read from a table: possible values, each run once, whole plans."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from tombola.base.errors import SpecError
from tombola.study.table.grouping import by_network
from tombola.study.table.row import Row, digest

__all__ = ["check_identities", "check_row", "refuse_other_scores"]

BOUNDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "plan_rows": (lambda value: value > 0, "a whole number above 0"),
    "sparsity": (lambda value: 0 <= value < 1, "a fraction in [0, 1)"),
    "seed": (lambda value: value >= 0, "a whole number from 0"),
    "rounds": (lambda value: all(0 < each < 1 for each in value), "fractions in (0, 1)"),
    "budget": (lambda value: value > 0, "a number of trainings above 0"),
    "distill": (lambda value: 0 < value <= 1, "a share in (0, 1]"),
    "distill_temperature": (lambda value: value > 0, "a number above 0"),
    "margin": (lambda value: 0 <= value < inf, "a number of points, 0 or more,"),
    "learning_rate": (lambda value: value > 0, "a number above 0"),
    "examples": (lambda value: value >= 0, "a whole number from 0"),
    "resolution": (lambda value: value > 0, "a number of points above 0"),
    **dict.fromkeys(
        (
            *("steps", "forward_tokens", "backward_tokens"),
            *("search_forward_tokens", "search_backward_tokens"),
            *("search_seconds", "search_trainings"),
        ),
        (lambda value: value >= 0, "a number from 0"),
    ),
    **dict.fromkeys(
        ("score", "dense", "trivial"),
        (lambda value: -100 <= value <= 100, "a number of points from -100 to 100"),
    ),
}
"""Column -> what its value must be, if there is one."""
OF_A_NETWORK = (
    *("kind", "of", "structure", "knobs", "variant", "rounds", "rewind_step", "budget", "init"),
    *("learning_rate", "distill", "distill_temperature", "examples"),
)
OF_A_TASK = ("metric", "split", "margin", "trivial", "resolution")
"""Columns that are the same in all rows of a plan that are about the same."""


def check_row(row: Row) -> None:
    """Refuse a row with values that no run can have.

    Raises: SpecError, naming the column; the caller adds the row.
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
        table: the table as it was read.
        place: the file, for errors.

    Raises: SpecError, naming the rows, counted from 1.
    """
    _refuse_repeated(table, place)
    _refuse_contradictions(table, place)
    _refuse_other_seeds(table, place)
    for rows in by_network(table):
        _refuse_different(rows, OF_A_NETWORK, f"{rows[0].name} on {rows[0].target}", place)
    for same in _by_task(table):
        _refuse_different(same, OF_A_TASK, f"all runs on {same[0].target}", place)
    for plan, count in Counter(row.plan for row in table).items():
        wanted = {row.plan_rows for row in table if row.plan == plan}
        if wanted != {count}:
            expected = " and ".join(map(str, sorted(wanted)))
            raise SpecError(
                f"expected all {expected} rows of the plan {plan!r} in {place!r}, got {count}. "
                "Write the table again with `tombola table`: a part of a plan proves nothing."
            )


def _refuse_repeated(table: Sequence[Row], place: str) -> None:
    """Refuse a seed or a run that a network has twice."""
    number = {id(row): place for place, row in enumerate(table, 1)}
    for rows in by_network(table):
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
    """Refuse a run with one score or one numerics here and another there."""
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


def refuse_other_scores(tables: Sequence[Sequence[Row]], places: Sequence[str]) -> None:
    """Refuse a run with one score in one table and another, for the same numerics, in another.

    Raises: SpecError.
    """
    known: dict[tuple[str, str], tuple[float, str]] = {}
    for table, place in zip(tables, places, strict=True):
        for row in table:
            for key, score, numerics in (
                (row.key, row.score, row.numerics),
                (row.dense_key, row.dense, row.dense_numerics),
            ):
                if score is None or numerics is None:
                    continue
                first, where = known.setdefault((key, digest(numerics)), (score, place))
                if first != score:
                    raise SpecError(
                        f"expected one score of the run {key[:12]} for the same numerics, got "
                        f"{first} in {where!r} and {score} in {place!r}. One of them has been "
                        "changed."
                    )


def _refuse_other_seeds(table: Sequence[Row], place: str) -> None:
    """Refuse two dense runs of one task and seed in a plan, and one dense run of two seeds."""
    known: dict[Any, Row] = {}
    for row in table:
        if row.kind == "connectivity":
            continue
        for name in ((row.plan, row.target, row.seed), (row.plan, row.dense_key)):
            first = known.setdefault(name, row)
            if (first.target, first.seed, first.dense_key) != (row.target, row.seed, row.dense_key):
                raise SpecError(
                    f"expected one dense run for each task and seed in {place!r}, got "
                    f"{first.dense_key[:12]} for seed {first.seed} on {first.target} and "
                    f"{row.dense_key[:12]} for seed {row.seed} on {row.target}. "
                    "One of the rows has been changed."
                )


def _by_task(table: Sequence[Row]) -> list[list[Row]]:
    """The rows of each plan on each task."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in table:
        found.setdefault((row.plan, row.target), []).append(row)
    return list(found.values())


def _refuse_different(rows: Sequence[Row], names: Sequence[str], what: str, place: str) -> None:
    """Refuse rows that differ in a column that must be the same in all of them."""
    for name in names:
        values = dict.fromkeys(v for row in rows if (v := getattr(row, name)) is not None)
        if len(values) > 1:
            first, other, *_ = (" ".join(v) if isinstance(v, tuple) else str(v) for v in values)
            raise SpecError(
                f"expected one {name} of {what} in {place!r}, got {first!r} and {other!r}. "
                "One of the rows has been changed."
            )
