"""Splits made of one by a digest of the texts, so that layouts and orders of rows agree."""

import hashlib
from itertools import groupby
from typing import Any

from tombola.base.errors import DataError
from tombola.tasks.data.rows import Rows
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import DIVIDED, Task

__all__ = ["half", "share"]


def half(row: dict[str, Any], task: Task) -> str:
    """Whether a row of the divided split is for dev or for the test.

    The first byte of the digest of its texts decides: even is test. The questions about one
    context stay together.
    """
    return DIVIDED[_digest(row, task)[0] % 2 == 0]


def _digest(row: dict[str, Any], task: Task) -> bytes:
    """SHA-256 of the texts of a row, whatever the spaces between their words."""
    columns = TASK_KINDS[task.kind].grouped_by(task)
    words = "\x1f".join(" ".join(str(row[name]).split()) for name in columns)
    return hashlib.sha256(words.encode()).digest()


def share(rows: Rows, split: str, task: Task) -> tuple[Rows, str]:
    """Train, dev or test of rows without a test split: those of the smallest digests are held out.

    Rows with the same texts stay together.

    Returns: the rows in their order, and a note on how they were divided.
    Raises: DataError, if there are too few different texts.
    """
    digests = [_digest(row, task) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: (digests[number], number))
    groups = [list(group) for _, group in groupby(order, key=lambda number: digests[number])]
    if len(groups) < 3:
        raise DataError(
            f"task {task.name!r} needs a test split, or three texts or more to hold some out, got "
            f"{len(groups)}. Each line of a text file, or row of any other file, is one text."
        )
    parts: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    held_out = TASK_KINDS[task.kind].held_out
    test, dev = (max(1, percent * len(rows) // 100) for percent in held_out)
    for place, group in enumerate(groups):
        left = len(groups) - place
        if len(parts["test"]) < test and left > 2:
            name = "test"
        elif len(parts["dev"]) < dev and left > 1:
            name = "dev"
        else:
            name = "train"
        parts[name] += group
    note = (
        f"there is no test split: of {len(rows):,} rows, {len(parts['test']):,} with the smallest "
        f"SHA-256 of their texts are the test split and the next {len(parts['dev']):,} dev."
    )
    return [rows[number] for number in sorted(parts[split])], note
