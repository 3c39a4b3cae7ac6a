"""Rows as CSV, Parquet, Markdown or LaTeX."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.base.rounding import points
from tombola.base.text import counted, printable
from tombola.study.table.row import TYPES, Row
from tombola.study.table.table import OF_GROUPS, groups

__all__ = ["FORMATS", "SUFFIXES", "export"]

Rows = Sequence[Mapping[str, Any]]
FORMATS: Registry[Callable[[Rows], bytes]] = Registry("format of a table")
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".tex": "latex", ".md": "markdown"}
"""Suffix of a file -> its default format."""

READABLE = ("arm", "name", "source", "target", "sparsity", "seed", "state", "score", "difference")
"""Columns of Markdown and LaTeX tables, since a page has no room for all."""


def export(table: Sequence[Row], form: str, *, together: bool = False) -> bytes:
    """A file with the rows.

    Args:
        table: rows of a plan, done or not; see their `state`.
        form: csv or parquet, with every column; markdown or latex, with those for readers.
        together: one row for all seeds of a network, with mean and standard deviation.

    Raises: SpecError, if the format is unknown or there are no rows.
    """
    write = FORMATS[form]
    if not table:
        raise SpecError("expected rows to write, got a plan without any. Give it an arm.")
    if together:
        return write([{**each, "state": _state(each)} for each in groups(table)])
    plain = [row.to_json() for row in table]
    if form in ("markdown", "latex"):
        plain = [{name: row[name] for name in READABLE} for row in plain]
    return write(plain)


def _state(group: Mapping[str, Any]) -> str:
    """How many seeds of a network are done, such as "2 of 3 seeds, 1 diverged"."""
    done, cells, diverged = group["done"], group["cells"], group["diverged"]
    lost = f", {diverged} diverged" if diverged else ""
    return "done" if done == cells else f"{done} of {counted(cells, 'seed')}{lost}"


@FORMATS.register("csv")
def csv_bytes(rows: Rows) -> bytes:
    """Comma-separated values after a header; missing ones are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@FORMATS.register("parquet")
def parquet_bytes(rows: Rows) -> bytes:
    """Typed columns; missing values are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    pq.write_table(pa.table({k: pa.array(v, _arrow(k)) for k, v in columns.items()}), sink)
    return sink.getvalue()


def _arrow(column: str) -> Any:
    """The type of a column, the same whether it has values or not."""
    import pyarrow as pa

    kind = OF_GROUPS.get(column) or TYPES[column][0]
    return {int: pa.int64(), float: pa.float64()}.get(kind, pa.string())


@FORMATS.register("markdown")
def markdown_bytes(rows: Rows) -> bytes:
    """A pipe table, as GitHub shows it."""
    return _tabulated(rows, "pipe", MARKDOWN)


@FORMATS.register("latex")
def latex_bytes(rows: Rows) -> bytes:
    """A tabular, with the rules of the package booktabs; tabulate escapes what LaTeX would read."""
    return _tabulated(rows, "latex_booktabs", {})


MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|<`*"})
"""Escapes of what Markdown would read as a cell's end, as HTML, as code or as emphasis."""


def _tabulated(rows: Rows, form: str, escapes: Mapping[int, str]) -> bytes:
    """A table in one of the formats of tabulate; columns of numbers are right-aligned."""
    from tabulate import tabulate

    sides = ["right" if _is_numeric([row[name] for row in rows]) else "left" for name in rows[0]]
    text = tabulate(
        [[_cell(value).translate(escapes) for value in row.values()] for row in rows],
        headers=[name.replace("_", " ") for name in rows[0]],
        tablefmt=form,
        colalign=sides,
        disable_numparse=True,  # a name such as 1e5 is not a number
    )
    return f"{text}\n".encode()


def _is_numeric(values: Sequence[Any]) -> bool:
    """Whether a column has numbers only, apart from gaps."""
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _cell(value: Any) -> str:
    """A value for readers: two decimals, nothing for None."""
    if value is None:
        return ""
    return points(value) if isinstance(value, float) else printable(value)
