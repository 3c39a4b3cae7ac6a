"""Rows read back from a CSV or Parquet table, so that verdicts need no store."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from tombola.base.errors import SpecError, cut, first_line
from tombola.base.fields import CALLED
from tombola.base.keys import PLACES
from tombola.study.table.export import SUFFIXES
from tombola.study.table.integrity import check_identities, check_row
from tombola.study.table.row import COLUMNS, MEASURED, OF_SEARCH, STATES, TYPES, Row, digest, minus

__all__ = ["filled", "is_table", "read_rows"]


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


def _share(text: str) -> Decimal:
    _number(text)
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise ValueError from None
    if abs(value.adjusted()) > PLACES:  # written out, it would fill the memory
        raise ValueError
    return value


SHARE = f"of at most {PLACES} decimal places"


READERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, CALLED[str]),
    int: (int, CALLED[int]),
    float: (_number, CALLED[float]),
    Decimal: (_share, f"{CALLED[float]} {SHARE}"),
    tuple[str, ...]: (lambda text: tuple(text.split()), "words"),
    tuple[Decimal, ...]: (lambda text: tuple(map(_share, text.split())), f"numbers {SHARE}"),
    Mapping[str, Any]: (lambda text: {"digest": text}, "a digest"),
}
"""Type of a field -> how its text is read, and what it is called."""


def is_table(path: str | Path) -> bool:
    """Whether a file's name ends like that of a table which can be read back."""
    return SUFFIXES.get(Path(path).suffix) in ("csv", "parquet")


def read_rows(path: str | Path) -> list[Row]:
    """The rows that `tombola table` wrote; differences are computed again.

    Args:
        path: a CSV or Parquet file.

    Raises: SpecError, if there is no such file, it lacks rows or a column, has an impossible
        value, or its rows are not those of whole plans, each run once.
    """
    path = Path(path)
    if not path.is_file():
        raise SpecError(f"expected a table of runs at {str(path)!r}, got no such file.")
    plain = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    table = []
    for number, values in enumerate(plain, 1):
        try:
            table.append(_row(values))
        except SpecError as error:
            raise SpecError(f"{error} in row {number} of {str(path)!r}.") from error
    if not table:
        raise SpecError(f"expected rows in {str(path)!r}, got a header alone.")
    check_identities(table, str(path))
    return [replace(each, difference=minus(each.score, each.dense)) for each in table]


def filled(table: Sequence[Row], known: Iterable[Row]) -> list[Row]:
    """Rows of a table, with those that are missing taken from another table, by their keys.

    Args:
        table: rows of a plan.
        known: rows of the same plan, such as those of an earlier store.

    Raises: SpecError, if the two have no run in common, or a training has one score here and
        another there for the same numerics.
    """
    known = list(known)
    if _runs(table).isdisjoint(_runs(known)):
        raise SpecError(
            "expected a table of the same plan as --fill, got one that has none of its runs. Use "
            "another."
        )
    there = {each.key: each for each in known if each.state != "missing"}
    dense = {each.dense_key: each for each in known if each.dense is not None}
    searches = {_search(each): each for each in known if each.search_seconds is not None}
    overlaps = {each.mask_key: each.jaccard_one_shot for each in known}
    margins = {each.dense_key: each.margin for each in known if each.margin is not None}
    diverged = {key: each.numerics for key, each in there.items() if each.state == "diverged"}
    found = [_filled(each, there.get(each.key), dense, overlaps) for each in table]
    found = [_with_search(each, searches.get(_search(each))) for each in found]
    return [
        replace(
            row,
            dense_numerics=row.dense_numerics or diverged.get(row.dense_key),
            margin=margins.get(row.dense_key) if row.margin is None else row.margin,
        )
        for row in found
    ]


def _runs(table: Iterable[Row]) -> set[str]:
    return {key for each in table for key in (each.key, each.dense_key)}


def _filled(
    row: Row,
    known: Row | None,
    dense: Mapping[str, Row],
    overlaps: Mapping[str | None, float | None],
) -> Row:
    if known is not None and row.state == "missing":
        row = replace(row, **{name: getattr(known, name) for name in MEASURED})
    elif known is not None and _contradict(row, known):
        raise SpecError(
            f"expected one score of {row.name} on {row.target}, seed {row.seed} "
            f"({row.key[:12]}), got {row.score} and, for the same numerics, {known.score}. "
            "One of the two tables has been changed."
        )
    if row.dense is None and row.dense_key in dense:
        other = dense[row.dense_key]
        row = replace(row, dense=other.dense, dense_numerics=other.dense_numerics)
    if row.jaccard_one_shot is None:
        row = replace(row, jaccard_one_shot=overlaps.get(row.mask_key))
    return replace(row, difference=minus(row.score, row.dense))


def _search(row: Row) -> tuple[str | None, str]:
    """The mask of a row, and the training that the cost of its search is counted in."""
    return row.mask_key, row.dense_key


def _with_search(row: Row, known: Row | None) -> Row:
    """A row with what another says of the search for its mask."""
    if known is None or row.search_seconds is not None:
        return row
    return replace(row, **{name: getattr(known, name) for name in OF_SEARCH})


def _contradict(row: Row, known: Row) -> bool:
    """Whether two rows have different scores for the same numerics."""
    if row.numerics is None or known.numerics is None:
        return False
    return digest(row.numerics) == digest(known.numerics) and row.score != known.score


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file)
            _expect_columns(path, reader.fieldnames or ())
            return list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise SpecError(f"expected a CSV file at {str(path)!r}, got {error}.") from error


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SpecError(
            f"expected a Parquet file at {str(path)!r}, got {first_line(error)}"
        ) from error
    _expect_columns(path, table.column_names)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _expect_columns(path: Path, there: Sequence[str]) -> None:
    lacking = [name for name in COLUMNS if name not in there]
    if lacking:
        more = f" and {len(lacking) - 1} more columns" if len(lacking) > 1 else ""
        raise SpecError(
            f"expected a table with one row a run in {str(path)!r}, as `tombola table PLAN "
            f"--output FILE` writes it, got one without {lacking[0]}{more}."
        )


def _row(values: Mapping[str, Any]) -> Row:
    given = {name: values.get(name) for name in COLUMNS}
    texts = {name: "" if value is None else str(value) for name, value in given.items()}
    row = Row(**{name: _value(name, text) for name, text in texts.items()})
    check_row(row)
    return row


def _value(name: str, text: str) -> Any:
    """The value of a column, with the type of the row's field.

    Raises: SpecError, naming the column; the caller adds the row.
    """
    type, optional = TYPES[name]
    if optional and not text:
        return None
    read, expected = READERS[type]
    try:
        value = read(text)
    except ValueError as error:
        raise SpecError(f"expected {expected} as {name}, got {cut(text)}") from error
    if name == "state" and value not in STATES:
        raise SpecError(f"expected one of {', '.join(STATES)} as state, got {cut(text)}")
    return value
