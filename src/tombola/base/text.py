"""Text from files and names, made safe for terminals and HTML: control sequences are shown."""

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["counted", "html_table", "html_text", "lines", "printable", "task_text"]


def printable(text: object) -> str:
    r"""An object's text in one line, of characters that a terminal shows and never obeys.

    Control characters, line breaks, escape sequences, marks that turn the direction of writing,
    lone surrogates and anything else invisible become escapes such as \x1b and \u202e.
    """
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(each if _is_visible(each) else _escaped(each) for each in shown)


def lines(text: str) -> str:
    """Each line of a text made `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def counted(count: int, noun: str) -> str:
    """A number and what it counts, such as "1 seed" or "1,200 seeds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def task_text(source: str | None, target: str) -> str:
    """What a network was trained on, after the task that its mask was found on, if another."""
    return f"{source} → {target}" if source and source != target else target


def _is_visible(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def html_text(text: object) -> str:
    """Text that can stand anywhere in HTML; what is not printable is shown as an escape."""
    return escape(printable(text))


def html_table(
    rows: Iterable[Sequence[object]], *, heading: Sequence[object] = (), caption: object = ""
) -> str:
    """An HTML table whose text is escaped.

    Args:
        rows: the cells of each row; the first one names the row.
        heading: names of the columns, if they have any.
        caption: what stands above the table.
    """
    cells = "".join(f"<th>{html_text(cell)}</th>" for cell in heading)
    head = f"<tr>{cells}</tr>" if cells else ""
    body = "".join(_row(row) for row in rows)
    top = f"<caption>{html_text(caption)}</caption>" if caption else ""
    return f"<table>{top}{head}{body}</table>"


def _row(cells: Sequence[object]) -> str:
    name, *values = cells
    rest = "".join(f"<td>{html_text(value)}</td>" for value in values)
    return f"<tr><th>{html_text(name)}</th>{rest}</tr>"
