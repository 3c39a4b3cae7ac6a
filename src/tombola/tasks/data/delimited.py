"""Tables with commas or tabs, whose fields may be quoted (RFC 4180).

A quote that is not closed where its field ends would swallow the rows after it. So a file is read
strictly, and where a quoted field runs over lines that would be rows by themselves it is refused,
with the line where the quote opens. In a file with tabs quotes then mean nothing.
"""

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tombola.base.errors import DataError
from tombola.tasks.data.rows import FileRows
from tombola.tasks.data.utf8 import format_of, read_text
from tombola.tasks.labels import is_number

__all__ = ["read_delimited"]


DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
"""Characters in use between columns -> what they are called."""

QUOTED = re.compile(r'"[^"]*"')


@dataclass
class _Table:
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    """First and last line of each row, from 1."""

    def add(self, fields: list[str], first: int, last: int) -> None:
        """Take a row, unless its line is blank."""
        if fields:
            self.rows.append(fields)
            self.lines.append((first, last))


class _StrayQuoteError(Exception):
    """A quote opens that is not closed at the end of its field."""

    def __init__(self, line: int) -> None:
        self.line = line


def read_delimited(path: Path, wanted: Sequence[str]) -> FileRows:
    """The rows of a file with a header.

    Args:
        path: ends in .csv for commas or in .tsv for tabs, followed by .gz if compressed.
        wanted: the columns to read; those that are missing are skipped.

    Raises: DataError, for another delimiter, a line that has more or fewer fields than the header,
        or a stray quote.
    """
    text, tabs, note = read_text(path), format_of(path) == ".tsv", ""
    _check_delimiter(text, "\t" if tabs else ",", path)
    try:
        table = _quoted(text, "\t" if tabs else ",", path)
    except _StrayQuoteError as stray:
        literal = _literal(text) if tabs else None
        if literal is None:
            raise DataError(
                f"{str(path)!r}: the quote that opens in line {stray.line} is not closed at the "
                'end of its field and swallows rows. Write a quote inside a text twice (""), with '
                "quotes around the text, or save the file as JSON lines."
            ) from None
        table = literal
        note = (
            f"quotes mean nothing in {path.name}: the one that opens in line {stray.line} is not "
            "closed at the end of its field."
        )
    places = {name: table.header.index(name) for name in wanted if name in table.header}
    return FileRows(
        file=str(path),
        columns=tuple(table.header),
        rows=[{name: row[at] for name, at in places.items()} for row in table.rows],
        place=lambda number: f"line {table.lines[number][0]}",
        note=note,
    )


def _check_delimiter(text: str, delimiter: str, path: Path) -> None:
    """Refuse a file whose header has another delimiter, and its own nowhere.

    One column whose name has such a character in it is refused, too, unless that is in quotes.
    """
    header = QUOTED.sub("", next(io.StringIO(text, newline=None), ""))
    if delimiter in header:
        return
    for other, name in DELIMITERS.items():
        if other in header and other != delimiter:
            way_on = "Call it .tsv" if other == "\t" else f"Save it with {DELIMITERS[delimiter]}"
            way_on = "Call it .csv" if other == "," else way_on
            raise DataError(
                f"{str(path)!r}: expected {DELIMITERS[delimiter]} between the columns of the "
                f"header, got {name}. {way_on}."
            )


def _quoted(text: str, delimiter: str, path: Path) -> _Table:
    """The table with quotes as RFC 4180 has them."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    table, last = _Table([]), 0
    with _fields_of_any_length():
        try:
            table.header = next(reader, [])
            last = reader.line_num
            for fields in reader:
                table.add(fields, last + 1, reader.line_num)
                last = reader.line_num
        except csv.Error:
            raise _StrayQuoteError(_opening(text, last + 1, delimiter)) from None
    for fields, (first, end) in zip(table.rows, table.lines, strict=True):
        if len(fields) != len(table.header):
            if end > first:
                raise _StrayQuoteError(_opening(text, first, delimiter))
            raise DataError(
                f"{str(path)!r}: line {first} has {len(fields)} fields, the header "
                f"{len(table.header)}. Put texts with a comma or a line break in quotes."
            )
    if (line := _swallowing(table, text, delimiter)) is not None:
        raise _StrayQuoteError(line)
    return table


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """A text may be longer than the 131,072 characters that the library allows a field."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _literal(text: str) -> _Table | None:
    """A table with tabs in which quotes mean nothing; None if its lines are of unlike width."""
    lines = [line.rstrip("\r\n").split("\t") for line in io.StringIO(text, newline="")]
    table = _Table(lines[0] if lines else [])
    for number, fields in enumerate(lines[1:], start=2):
        if fields != [""]:
            table.add(fields, number, number)
    fits = all(len(fields) == len(table.header) for fields in table.rows)
    return table if fits else None


def _opening(text: str, first: int, delimiter: str) -> int:
    """The line in which the stray quote opens, in a row that begins in line `first`."""
    opened, inside, previous = first, False, delimiter
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        for char in line if number >= first else "":
            if inside:
                inside = char != '"'
            elif char == '"' and previous in (delimiter, "\n", "\r"):
                opened, inside = number, True
            elif char == '"' and previous == '"':  # the second of two is a quote in the text
                inside = True
            elif previous == '"' and char not in (delimiter, "\n", "\r"):
                return opened
            previous = char
    return opened


def _swallowing(table: _Table, text: str, delimiter: str) -> int | None:
    """The first line of a quoted field that runs over what look like rows by themselves.

    Each of its lines has as many fields as the header, and in one column all of them have values
    like those of the other rows: the same, or numbers where all are numbers.
    """
    long = [span for span in table.lines if span[1] > span[0]]
    rows = [row for row, (a, b) in zip(table.rows, table.lines, strict=True) if a == b]
    if not long or len(table.header) < 2:
        return None
    lines = list(io.StringIO(text, newline=""))
    likes = [_like(at, rows or table.rows, table.rows) for at in range(len(table.header))]
    for first, last in long:
        inside = [line.rstrip("\r\n").split(delimiter) for line in lines[first - 1 : last]]
        if all(len(fields) == len(likes) for fields in inside) and any(
            all(like(fields[at].strip('"')) for fields in inside) for at, like in enumerate(likes)
        ):
            return _opening(text, first, delimiter)
    return None


def _like(at: int, plain: list[list[str]], rows: list[list[str]]) -> Callable[[str], bool]:
    """Whether a value is like those of a column: a number where those of plain rows are."""
    if all(is_number(row[at]) for row in plain):
        return is_number
    return {row[at] for row in rows}.__contains__
