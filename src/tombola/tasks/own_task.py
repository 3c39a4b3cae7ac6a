"""The task that a user names: of the catalog, a YAML file, or files with flags."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tombola.base.errors import DataError, SpecError
from tombola.base.registry import unknown
from tombola.base.specs import TaskSpec
from tombola.tasks.data.files import DataFiles, find_folder, labelled_files
from tombola.tasks.data.row_checks import bad_row
from tombola.tasks.data.rows import FileRows, listed
from tombola.tasks.data.utf8 import format_of
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.tasks.labels import class_name, classes_in, is_number, one_class
from tombola.tasks.task import NOT_YET, YAML, Task, load_task, not_yet

__all__ = ["CSV", "changed_task", "named_task"]

CSV = "csv:"
"""What a folder of files, or a file, has before its path where it is named as a task."""

FILES = f"{CSV}DIR or {CSV}FILE"
"""What messages call such a task."""

DEFAULT_KIND = "classification"
TEXT, LABEL = "text", "label"
"""Columns, where none are named."""
MANY = 20
"""With more classes than this, fractions are values, and labels that hardly repeat are ids, unless
they are named."""


def named_task(name: str, spec: TaskSpec, *, beside: Path | None = None) -> Task:
    """The task of a name, with the split that is scored and the columns that flags give.

    Args:
        name: a name in the catalog, a path that ends in .yaml, or `csv:PLACE`, a folder or a file.
        spec: the flags.
        beside: a folder in which such a path is looked for before the current one.

    Raises: SpecError, DataError, if there is no such task, or the flags don't fit it.
    """
    if name.startswith(CSV):
        place = _place(name.removeprefix(CSV), beside)
        return _as_asked(_csv_task(place, spec), spec)
    if Path(name).suffix in YAML:
        name = str(_place(name, beside))
    return changed_task(load_task(name), spec)


def _place(path: str, beside: Path | None) -> Path:
    """A path as it was written, or in another folder, if it is there."""
    place = Path(path).expanduser()
    near = place if beside is None else beside / place
    return near if near.exists() else place


def changed_task(task: Task, spec: TaskSpec) -> Task:
    """A task as flags change it: the split that is scored, the margin, a text column.

    Raises: SpecError, if the flags don't fit it.
    """
    return _as_asked(_with_columns(task, spec), spec)


def _as_asked(task: Task, spec: TaskSpec) -> Task:
    """The task with the split that is scored, the margin and the rows that flags ask for."""
    if spec.eval_split == "train":
        raise SpecError(
            "eval_split must be a split that is not trained on, got 'train'. Use test, dev or "
            "validation."
        )
    if spec.margin is not None:
        task = replace(task, margin=spec.margin, by_rule=False)
    return replace(
        task,
        test_split=spec.eval_split or task.test_split,
        drop_bad_rows=spec.drop_bad_rows or task.drop_bad_rows,
    )


def _with_columns(task: Task, spec: TaskSpec) -> Task:
    """A task with another text column, which is all that flags may change of it."""
    for field in ("kind", "text_columns", "label_column", "labels", "metric"):
        if getattr(spec, field) and (field != "text_columns" or TASK_KINDS[task.kind].labelled):
            raise SpecError(
                f"{field} describes {FILES}, got it for the task {task.name!r}. Leave it out, or "
                "describe the task in a YAML file."
            )
    return replace(task, texts=spec.text_columns or task.texts)


def _csv_task(place: Path, spec: TaskSpec) -> Task:
    """A task over the files of a folder, or one file, in any format."""
    kind = _csv_kind(spec)
    texts, label = spec.text_columns or (TEXT,), spec.label_column or LABEL
    labelled = kind.labelled
    parts = list(_training(place, (*texts, label) if labelled else texts, text_files=not labelled))
    parts = [part for part in parts if not part.blank] or parts
    if parts and parts[0].blank:
        raise DataError(f"expected training rows in {parts[0].file!r}, got none. Check the file.")
    for part in parts:
        _check_columns(spec, texts, label if labelled else "", part)
    return Task(
        name="csv",
        kind=kind.name,
        texts=texts,
        label=label,
        labels=(spec.labels or _classes(parts, label, spec)) if kind.has_classes else (),
        metric=spec.metric or kind.metrics[0],
        by_rule=True,
        data=str(place),
    )


def _csv_kind(spec: TaskSpec) -> TaskKind:
    """The kind that the flags name, if they fit it."""
    name = spec.kind or DEFAULT_KIND
    if name in NOT_YET:
        raise not_yet(name)
    known = [each for each in TASK_KINDS if TASK_KINDS[each].by_flags]
    if name not in known:
        raise unknown(f"kind of {FILES}", name, known)
    kind = TASK_KINDS[name]
    if spec.labels and not kind.has_classes:
        raise SpecError(f"--labels names classes, got it for the kind {name}. Leave it out.")
    if spec.label_column and not kind.labelled:
        raise SpecError(f"--label-column names labels, got it for the kind {name}. Leave it out.")
    return kind


def _training(place: Path, columns: tuple[str, ...], *, text_files: bool) -> Iterator[FileRows]:
    """The training rows: those of the split of that name, or of the only one."""
    folder = find_folder(place)
    files = DataFiles(folder) if text_files else labelled_files(folder)
    there = files.splits()
    if "train" not in there and len(there) != 1:
        if place.is_dir():
            found = ", ".join(sorted(path.name for path in place.glob("*"))) or "nothing"
        else:
            found = "a file of another format" if place.is_file() else "nothing"
        raise DataError(
            "expected train.csv and test.csv (or .tsv, .jsonl, .json, .parquet, .arrow) or one "
            f"such file in {str(place)!r}, found {found}. Check the path, rename the files, or "
            "pass one file, or the folder that has them."
        )
    return files.parts("train" if "train" in there else there[0], columns, 0)


def _check_columns(spec: TaskSpec, texts: tuple[str, ...], label: str, part: FileRows) -> None:
    there = f"found {listed(part.columns)}"
    if format_of(Path(part.file)) in (".csv", ".tsv"):
        there += " in its first line"
    if not spec.text_columns and TEXT not in part.columns:
        also = f" No column is called {label!r} either: pass it as --label-column."
        raise SpecError(
            f"{part.file!r} needs --text-columns: the column with the text, or the two of a pair; "
            f"{there}.{also if label and label not in part.columns else ''}"
        )
    for flag, names in (("--text-columns", texts), ("--label-column", (label,) if label else ())):
        for name in names:
            if name not in part.columns:
                raise DataError(
                    f"expected the column {name!r} of {flag} in {part.file!r}, {there}. Pass one "
                    f"of them as {flag}."
                )
    part.check_once(name for name in (*texts, label) if name)


def _classes(parts: list[FileRows], label: str, spec: TaskSpec) -> tuple[str, ...]:
    """The classes of the training rows, sorted by value if all are numbers."""
    for part in parts:
        for number, row in enumerate(part.rows):
            if class_name(row.get(label)) is None and not spec.drop_bad_rows:
                needed = f"a classification needs {one_class(row.get(label))} in every row"
                raise bad_row(part, number, label, needed, row.get(label))
    classes = classes_in(row.get(label) for part in parts for row in part.rows)
    if not any(part.rows for part in parts):
        raise DataError(f"expected training rows in {parts[0].file!r}, got none. Check the file.")
    if len(classes) > MANY and all(map(is_number, classes)) and "." in "".join(classes):
        raise DataError(
            f"expected classes in the column {label!r} of {parts[0].file!r}, got {len(classes)} "
            "different numbers, not all of them whole. Pass --kind regression, or --labels."
        )
    _refuse_ids(classes, parts, label)
    if len(classes) < 2:
        raise DataError(
            f"expected two classes or more in the column {label!r} of the training rows in "
            f"{parts[0].file!r}, got {listed(classes)}. Check the column, or pass --labels."
        )
    return classes


def _refuse_ids(classes: tuple[str, ...], parts: list[FileRows], label: str) -> None:
    """Refuse a column in which most rows have a class of their own."""
    rows = sum(len(part.rows) for part in parts)
    if len(classes) <= max(MANY, rows // 2):
        return
    number = all(map(is_number, classes))
    what = "an id, or a value to predict" if number else "an id"
    regression = " --kind regression," if number else ""
    raise DataError(
        f"{parts[0].file!r}, column {label!r}: {len(classes):,} classes in {rows:,} rows; is it "
        f"{what}? Pass another --label-column,{regression} or --labels."
    )
