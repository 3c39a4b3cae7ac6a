"""Tables that are never cut off, however narrow the window."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table

from tombola.base.text import printable
from tombola.cli.show.screen import has_window, stacked
from tombola.cli.streams import spelled
from tombola.lab.progress.screen import say

__all__ = ["Grid", "show_rows"]

NARROW = 24
"""Least width of a text, in columns; a longer word is broken there."""

UNLIMITED = 100_000

Cell = str | list[str]
"""One line, or several below one another."""


@dataclass
class Grid:
    """A table that is folded, or written row by row, if the window is too narrow for it.

    Texts may be folded; numbers and words stay whole.
    """

    texts: Sequence[str]
    """Headings of the first columns, whose cells may be folded."""
    numbers: Sequence[str] = ()
    """Headings of the columns that are aligned to the right."""
    words: Sequence[str] = ()
    """Headings of the last columns."""
    title: str = ""
    frame: box.Box | None = box.SIMPLE
    rows: list[tuple[tuple[Cell, ...], str, bool]] = field(default_factory=list)
    """Cells, style, and whether a line is drawn below."""

    def add(self, *cells: Cell, style: str = "", rule: bool = False) -> None:
        """Add a row; an empty first cell repeats the one above."""
        self.rows.append((cells, style, rule))

    def show(self, console: Console) -> None:
        """Print the table, in its natural width if there is room."""
        columns = self._columns(console)
        natural = self._measure(columns, console)
        if not has_window(console):
            console.width = max(console.width, natural)
        excess = natural - console.width
        if excess > sum(column.full - column.least for column in columns):
            self._show_records(columns, console)
            return
        for _ in range(excess):
            max(columns, key=lambda column: column.full - column.least).full -= 1
        console.print(self._drawn(columns))

    def _columns(self, console: Console) -> list["_Column"]:
        heads = (*self.texts, *self.numbers, *self.words)
        columns = []
        for at, name in enumerate(heads):
            cells = (name, *(row[at] for row, _, _ in self.rows))
            head, *inside = (_shown(cell, console.encoding) for cell in cells)
            columns.append(_Column(head, inside, folds=at < len(self.texts)))
        return columns

    def _measure(self, columns: Sequence["_Column"], console: Console) -> int:
        options = console.options.update(width=UNLIMITED)
        return Measurement.get(console, options, self._drawn(columns)).maximum

    def _drawn(self, columns: Sequence["_Column"]) -> Table:
        made = Table(
            title=self.title or None,
            title_justify="left",
            box=self.frame,
            padding=(0, 1) if self.frame else (0, 1, 0, 0),
            pad_edge=self.frame is not box.HORIZONTALS,
        )
        numbers = range(len(self.texts), len(self.texts) + len(self.numbers))
        for at, column in enumerate(columns):
            side: JustifyMethod = "right" if at in numbers else "left"
            made.add_column(
                stacked([column.head]), width=column.full, overflow="fold", justify=side
            )
        for at, (_, style, rule) in enumerate(self.rows):
            cells = (stacked(column.cells[at].splitlines()) for column in columns)
            made.add_row(*cells, style=style, end_section=rule)
        return made

    def _show_records(self, columns: Sequence["_Column"], console: Console) -> None:
        """Print each row as lines of `heading: value`."""
        if self.title:
            say(console, (self.title, "italic"))
        above = ""
        for first, *others in zip(*(column.cells for column in columns), strict=True):
            above = first or above
            say(console, f"{columns[0].head}: {above}")
            for column, cell in zip(columns[1:], others, strict=True):
                if cell:
                    say(console, f"  {column.head}: {'; '.join(cell.splitlines())}")


class _Column:
    """The cells of a column, with the least and the natural width."""

    def __init__(self, head: str, cells: list[str], *, folds: bool) -> None:
        self.head, self.cells = head, cells
        lines = [line for cell in cells for line in cell.splitlines()]
        words = [word for line in lines for word in line.split()]
        self.full = max(map(cell_len, [head, *lines]))
        longest = max(map(cell_len, [*head.split(), *(words if folds else lines)]), default=0)
        self.least = min(longest, NARROW) if folds else longest


def _shown(cell: Cell, encoding: str) -> str:
    """A cell as it will be printed, so that its width is known beforehand."""
    lines = [cell] if isinstance(cell, str) else cell
    return "\n".join(spelled(printable(line), encoding) for line in lines)


def show_rows(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], console: Console, *, texts: int = 1
) -> None:
    """Print a plain table, whose first columns are texts that may be folded."""
    grid = Grid(columns[:texts], words=columns[texts:])
    for row in rows:
        grid.add(*row)
    grid.show(console)
