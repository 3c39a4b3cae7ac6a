"""Rows as CSV, Parquet, Markdown or LaTeX."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.study.table.row import Row
from tombola.study.table.table import groups

__all__ = ["FORMATS", "SUFFIXES", "export"]

Rows = Sequence[Mapping[str, Any]]
FORMATS: Registry[Callable[[Rows], bytes]] = Registry("format of a table")
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".tex": "latex", ".md": "markdown"}
"""Of a file -> its format, where none is named."""

READABLE = ("arm", "name", "source", "target", "sparsity", "seed", "state", "score", "difference")
"""Columns of a page, which has no room for all."""


def export(table: Sequence[Row], form: str, *, together: bool = False) -> bytes:
    """A file with the rows.

    Args:
        table: rows of a plan; what has not been run says so in `state`.
        form: csv or parquet, with every column; markdown or latex, with those for readers.
        together: one row for all seeds of a network, with mean and standard deviation.

    Raises: SpecError, if there is no such format or no row.
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
    """How much of a group is there."""
    done, cells, diverged = group["done"], group["cells"], group["diverged"]
    lost = f", {diverged} diverged" * bool(diverged)
    return "done" if done == cells else f"{done} of {cells} seeds{lost}"


@FORMATS.register("csv")
def csv_bytes(rows: Rows) -> bytes:
    """Comma-separated, a header first; what is not there is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@FORMATS.register("parquet")
def parquet_bytes(rows: Rows) -> bytes:
    """Typed columns; what is not there is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    pq.write_table(pa.table({k: pa.array(v, _arrow(k)) for k, v in columns.items()}), sink)
    return sink.getvalue()


def _arrow(column: str) -> Any:
    """The type of a column, the same whether anything is in it or not."""
    import pyarrow as pa

    if column in ("seed", "rewind_step", "examples", "cells", "done", "diverged", "plan_rows"):
        return pa.int64()
    numbers = ("learning_rate", "margin", "score", "dense", "difference", "trivial", "seconds")
    more = ("resolution", "summed_learning_rate", "jaccard_one_shot", "mean", "std", "minus_dense")
    return pa.float64() if column in numbers + more else pa.string()


@FORMATS.register("markdown")
def markdown_bytes(rows: Rows) -> bytes:
    """A pipe table."""
    lines = [[_words(name) for name in rows[0]], ["---"] * len(rows[0])]
    lines += [[_cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).encode()


@FORMATS.register("latex")
def latex_bytes(rows: Rows) -> bytes:
    """A tabular, with the rules of the package booktabs."""
    first = next(iter(rows))
    shape = "".join("r" if isinstance(value, int | float) else "l" for value in first.values())
    lines = [[_words(name) for name in first], *([_cell(v) for v in row.values()] for row in rows)]
    head, *body = (" & ".join(map(_escaped, line)) + r" \\" for line in lines)
    inner = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{shape}}}", *inner, r"\end{tabular}", ""]).encode()


def _words(column: str) -> str:
    return column.replace("_", " ")


def _cell(value: Any) -> str:
    """As a reader wants it."""
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(sign, sign) for sign in text)
