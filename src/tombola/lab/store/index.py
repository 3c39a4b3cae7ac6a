"""The index of a store: one flat row for each result, in one file that is fast to read.

The file is a cache: it may be deleted, and whichever process writes it last wins.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tombola.base.files import read_plain_text
from tombola.lab.store.result import Result

__all__ = ["bring_up_to_date", "listed", "misread"]

LIMIT = 1 << 30
"""Largest index that is read, in bytes."""

HEADER = '{"format": "tombola-index", "version": 1}'

Row = dict[str, Any]


def bring_up_to_date(
    index: Path, results: Path, read: Callable[[str], Result | None]
) -> tuple[list[Row], str | None]:
    """The rows of all results, by key. Only results that the index lacks are read.

    Args:
        index: the file, which may be missing or damaged.
        results: the folder of all results.
        read: returns the result of a key; None if it is damaged or gone.

    Returns: the rows, and the new content of the index; None if it is up to date.
    """
    known = _load(index)
    rows, lines, news = [], [], False
    for entry in listed(results):
        try:
            stored = entry.stat(follow_symlinks=False).st_mtime_ns
        except FileNotFoundError:  # removed just now
            continue
        line, row = known.get(entry.name, ("", {}))
        if row.get("stored_ns") != stored:
            result = read(entry.name)
            if result is None:
                continue
            row = _row(result, stored)
            line, news = json.dumps(row), True
        rows.append(row)
        lines.append(line)
    if not news and len(lines) == len(known):
        return rows, None
    return rows, "\n".join([HEADER, *lines, ""])


def misread(
    index: Path, results: Path, read: Callable[[str], Result | None]
) -> Iterator[tuple[str, str]]:
    """The name of the index and what is wrong, for each valid row that contradicts its result."""
    known = _load(index)
    for entry in listed(results):
        _, row = known.get(entry.name, ("", {}))
        if row and row.get("stored_ns") == entry.stat(follow_symlinks=False).st_mtime_ns:
            result = read(entry.name)
            if result is not None and row != json.loads(json.dumps(_row(result, row["stored_ns"]))):
                what = f"has a row for {entry.name[:12]} that contradicts its result; delete it"
                yield index.name, f"{what}, and it will be rebuilt"


def listed(results: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry in the folders of results/, sorted by name, foreign ones included."""
    for shelf in _sorted(results):
        if len(shelf.name) == 2 and shelf.is_dir(follow_symlinks=False):
            yield from _sorted(shelf)


def _sorted(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _row(result: Result, stored: int) -> Row:
    """The row of a result: every spec and fact that is text or a number, and its folder's time."""
    plain = {
        name: value
        for name, value in (*result.spec.items(), *result.facts.items())
        if not isinstance(value, dict | list)
    }
    own = ("key", "kind", "label", "seconds", "peak_memory")
    return {**plain, **{name: getattr(result, name) for name in own}, "stored_ns": stored}


def _load(index: Path) -> dict[str, tuple[str, Row]]:
    """Key -> line and row; nothing, if the file is missing or damaged."""
    try:
        header, *lines = read_plain_text(index, LIMIT).splitlines()
        if header != HEADER:
            return {}
        rows = json.loads(f"[{','.join(lines)}]")  # at once is faster than line by line
        return {row["key"]: (line, row) for line, row in zip(lines, rows, strict=True)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
