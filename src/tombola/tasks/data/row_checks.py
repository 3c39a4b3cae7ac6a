"""Rows checked and converted for a task; an error names file, row and column."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tombola.base.errors import DataError, cut
from tombola.tasks.data.rows import BadRowError, FileRows, Rows, is_text
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.labels import class_name
from tombola.tasks.task import Task

__all__ = ["Checked", "bad_row", "check_rows", "wanted_columns"]

HIDDEN = "-1"
"""The label in place of one that is not published."""


@dataclass
class Checked:
    """The rows of a split that a task can use, and what was found on the way."""

    rows: Rows = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Column -> rows that were left out because of its value."""
    spellings: dict[str, set[str]] = field(default_factory=dict)
    """Class -> the texts that it is written as."""
    notes: list[str] = field(default_factory=list)


def check_rows(parts: Iterable[FileRows], task: Task, split: str, limit: int = 0) -> Checked:
    """The rows of a split, with the task's columns as the task wants them.

    Args:
        parts: the files of the split.
        task: what a row must be, and whether others are dropped.
        split: its name, for messages.
        limit: number of rows that are taken, the first; 0 is all.

    Raises: DataError, with file, row and column, for a row that the task can't use, unless the
        task drops such rows.
    """
    found = Checked()
    for part in parts:
        if part.blank:
            continue
        way_on = "Add it, or use another --eval-split." if split != "train" else "Add it."
        part.check(wanted_columns(task), f"the {split} split of task {task.name!r}", way_on)
        _check_order(part, task)
        if part.note and part.note not in found.notes:
            found.notes.append(part.note)
        for number, row in enumerate(part.rows):
            try:
                found.rows.append(_checked(row, task, found))
            except BadRowError as bad:
                if not task.drop_bad_rows:
                    raise _refusal(bad, part, number, task, split) from None
                found.dropped[bad.column] += 1
            if len(found.rows) == limit > 0:
                return found
    return found


def _check_order(part: FileRows, task: Task) -> None:
    """Refuse a file that numbers the same classes in another order."""
    theirs = tuple(part.classes.get(task.label, ()))
    if theirs != task.labels and sorted(theirs) == sorted(task.labels):
        raise DataError(
            f"{part.file!r}: expected the classes of {task.label!r} in the task's order, "
            f"{', '.join(map(cut, task.labels))}, got {', '.join(map(cut, theirs))}. Put the "
            "labels of the task into the file's order."
        )


def wanted_columns(task: Task) -> tuple[str, ...]:
    """The columns of a task as its files call them."""
    return tuple(task.label if name == "label" else name for name in task.columns)


def _checked(row: Mapping[str, Any], task: Task, found: Checked) -> dict[str, Any]:
    """One row as the task wants it."""
    made: dict[str, Any] = {}
    for name in task.texts:
        if not is_text(text := row.get(name)):
            whole = " of whole characters" if isinstance(text, str) else ""
            raise BadRowError(name, f"a text{whole}", text)
        made[name] = text
    kind = TASK_KINDS[task.kind]
    if task.drop_bad_rows and kind.labelled and not any(map(str.strip, made.values())):
        raise BadRowError(task.texts[0], "a text", "")
    made |= kind.labels_of(row, made, task)
    if kind.has_classes and isinstance(label := row.get(task.label), str):
        found.spellings.setdefault(task.labels[made["label"]], set()).add(label.strip())
    return made


def _refusal(bad: BadRowError, part: FileRows, number: int, task: Task, split: str) -> DataError:
    """The error for a row that can't be used."""
    if split != "train" and bad.column == task.label and (all_ := _hidden(part.rows, task.label)):
        return DataError(
            f"{part.file!r}: the labels of the {split} split of task {task.name!r} are all {all_}, "
            "so they seem to be hidden. Use another --eval-split."
        )
    whose = f"the {split} split of task {task.name!r}"
    return bad_row(part, number, bad.column, f"{whose} needs {bad.expected}", bad.found)


def bad_row(part: FileRows, number: int, column: str, needed: str, found: Any) -> DataError:
    """The error for a bad row, with file, row and column.

    Args:
        part: the file.
        number: the row's number in the file, from 0.
        column: where the fault is.
        needed: who needs what, as a sentence.
        found: what is there.
    """
    return DataError(
        f"{part.file!r}, {part.place(number)}, column {column!r}: {needed}, got "
        f"{'nothing' if found is None else cut(found)}. "
        "Correct the row, or leave such rows out with --drop-bad-rows."
    )


def _hidden(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """The one value of labels that are hidden, -1 or blank; empty where there are real labels."""
    labels = [row.get(label) for row in rows]
    if all(class_name(each) == HIDDEN for each in labels):
        return HIDDEN
    return "blank" if all(each is None or not str(each).strip() for each in labels) else ""
