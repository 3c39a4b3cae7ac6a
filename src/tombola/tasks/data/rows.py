"""Rows as they are in one file, with the place of each for messages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tombola.base.errors import DataError

__all__ = ["BadRowError", "FileReader", "FileRows", "Rows", "is_text", "listed", "numbered"]

Rows = list[dict[str, Any]]
"""Rows of a split with the columns of its task."""


HALF = re.compile("[\ud800-\udfff]")
"""One half of a character, which JSON can hold by itself and no file of text can."""


class BadRowError(Exception):
    """A row that a task can't use.

    Args:
        column: where the fault is.
        expected: what should be there.
        found: what is.
    """

    def __init__(self, column: str, expected: str, found: Any) -> None:
        self.column, self.expected, self.found = column, expected, found


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """Rows of one file, with the columns that were asked for, unchecked."""

    file: str
    columns: tuple[str, ...]
    """All columns that the file has."""
    rows: Sequence[Mapping[str, Any]]
    place: Callable[[int], str]
    """Number of a row -> where it is in the file."""
    note: str = ""
    """What readers of the results must know about how the file was read."""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column of numbers -> the names that the file itself gives them, in order."""

    @property
    def blank(self) -> bool:
        """Whether the file is empty, like a shard without rows."""
        return not self.columns

    def check(self, wanted: Sequence[str], whose: str, way_on: str) -> None:
        """Refuse a file that lacks a column, or has one twice.

        Args:
            wanted: the columns that there must be.
            whose: who needs them, for the message.
            way_on: what to do, for the message.

        Raises: DataError.
        """
        for name in wanted:
            if name not in self.columns:
                raise DataError(
                    f"{self.file!r}: {whose} needs the column {name!r}, found "
                    f"{listed(self.columns)}. {way_on}"
                )
        self.check_once(wanted)

    def check_once(self, wanted: Iterable[str]) -> None:
        """Refuse a file that has one of these columns several times.

        Raises: DataError.
        """
        for name in wanted:
            if (times := self.columns.count(name)) > 1:
                many = "two" if times == 2 else str(times)
                raise DataError(
                    f"{self.file!r} has {many} columns {name!r}. Give each a name of its own."
                )


FileReader = Callable[[Path, Sequence[str]], FileRows]
"""A file and the columns that are asked for -> its rows."""


def is_text(value: Any) -> bool:
    """Whether a value is a text of whole characters."""
    return isinstance(value, str) and (value.isascii() or HALF.search(value) is None)


def listed(names: Sequence[str]) -> str:
    """Names of columns in quotes, so that a space in one is seen."""
    return ", ".join(map(repr, names)) or "none"


def numbered(number: int) -> str:
    """The place of a row in a file that has no lines."""
    return f"row {number}, counted from 0"
