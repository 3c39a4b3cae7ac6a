"""The task that a user names: of the catalog, a YAML file, or a folder of CSV files."""

from dataclasses import replace
from pathlib import Path

from tombola.errors import DataError, SpecError
from tombola.registry import unknown
from tombola.specs import TaskSpec, TrainSpec
from tombola.task.plain import read_table
from tombola.task.tasks import METRICS_OF, Task, load_task

__all__ = ["CSV", "named_task"]

CSV = "csv:"
"""What a folder of CSV files has before its path where it is named as a task."""

CSV_KINDS = ("classification", "regression", "mlm")
LABEL = "label"


def named_task(name: str, spec: TaskSpec) -> Task:
    """The task of a name, with the split that is scored and the columns that flags give.

    Args:
        name: of the catalog, a path that ends in .yaml, or `csv:DIR`.
        spec: the flags.

    Raises: SpecError, DataError, if there is no such task, or the flags don't fit it.
    """
    task = _csv_task(name, spec) if name.startswith(CSV) else _changed(load_task(name), spec)
    if spec.eval_split == "train":
        raise SpecError(
            "eval_split is a split that is not trained on, got 'train'. Name test, dev or "
            "validation."
        )
    return replace(task, test_split=spec.eval_split or task.test_split)


def _changed(task: Task, spec: TaskSpec) -> Task:
    """A task with another text column, which is all that flags may change of it."""
    for field in ("kind", "text_columns", "label_column", "labels", "metric"):
        if getattr(spec, field) and not (field == "text_columns" and task.kind == "mlm"):
            raise SpecError(
                f"{field} describes {CSV}DIR, got it for the task {task.name!r}. Leave it out, or "
                "describe the task in a YAML file."
            )
    return replace(task, texts=spec.text_columns or task.texts)


def _csv_task(name: str, spec: TaskSpec) -> Task:
    """A task over `train.csv` and `test.csv` in a folder, or the same with .tsv."""
    folder, kind = Path(name.removeprefix(CSV)), spec.kind or CSV_KINDS[0]
    if kind not in CSV_KINDS:
        raise unknown(f"kind of {CSV}DIR", kind, CSV_KINDS)
    columns = _training_columns(folder)
    texts = spec.text_columns or (("text",) if kind == "mlm" else ())
    label = spec.label_column or LABEL
    _check_columns(texts, label if kind != "mlm" else "", columns, folder)
    return Task(
        name="csv",
        kind=kind,
        texts=texts,
        label=label,
        labels=(spec.labels or _classes(columns[label])) if kind == CSV_KINDS[0] else (),
        metric=spec.metric or METRICS_OF[kind][0],
        recipe=TrainSpec(),
        data=str(folder),
    )


def _training_columns(folder: Path) -> dict[str, list[str]]:
    for suffix in (".csv", ".tsv"):
        if (folder / f"train{suffix}").is_file():
            return read_table(folder / f"train{suffix}")
    there = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
    found = ", ".join(there) or "nothing"
    raise DataError(f"expected train.csv or train.tsv in {str(folder)!r}, found {found}.")


def _check_columns(
    texts: tuple[str, ...], label: str, columns: dict[str, list[str]], folder: Path
) -> None:
    there = f"found {', '.join(columns) or 'none'}"
    if not texts:
        raise SpecError(
            f"{CSV}{folder} needs --text-columns: the column with the text, or the two of a pair; "
            f"{there}."
        )
    for flag, names in (("--text-columns", texts), ("--label-column", (label,) if label else ())):
        for name in names:
            if name not in columns:
                raise DataError(f"expected the column {name!r} of {flag} in {folder}, {there}.")


def _classes(values: list[str]) -> tuple[str, ...]:
    """The classes of a column: its values, sorted as numbers if all are."""
    stripped = [value.strip() for value in values]
    if "" in stripped:
        row = stripped.index("") + 1
        raise DataError(f"expected a class in every training row, got none in row {row}. Fill it.")
    classes = set(stripped)
    numbers = all(value.isdecimal() for value in classes)
    return tuple(sorted(classes, key=int if numbers else None))
