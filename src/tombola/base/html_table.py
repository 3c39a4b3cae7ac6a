"""Small tables in HTML, which notebooks show for an object; whatever text comes in is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from tombola.base.text import printable

__all__ = ["html_table", "html_text"]


def html_text(text: object) -> str:
    """Text that can stand anywhere in HTML; what is not printable is shown as an escape."""
    return escape(printable(text))


def html_table(
    rows: Iterable[Sequence[object]], *, heading: Sequence[object] = (), caption: object = ""
) -> str:
    """A table.

    Args:
        rows: the cells of each row; the first one names the row.
        heading: names of the columns, if they have any.
        caption: what stands above the table.
    """
    head = f"<tr>{''.join(f'<th>{html_text(cell)}</th>' for cell in heading)}</tr>" * bool(heading)
    body = "".join(_row(row) for row in rows)
    top = f"<caption>{html_text(caption)}</caption>" * bool(caption)
    return f"<table>{top}{head}{body}</table>"


def _row(cells: Sequence[object]) -> str:
    name, *values = cells
    rest = "".join(f"<td>{html_text(value)}</td>" for value in values)
    return f"<tr><th>{html_text(name)}</th>{rest}</tr>"
