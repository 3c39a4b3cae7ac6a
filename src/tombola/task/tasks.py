"""What a task is: a dozen lines of YAML in `catalog/tasks/`, read and checked here."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tombola.errors import DataError, SpecError
from tombola.registry import unknown
from tombola.specs import TrainSpec

__all__ = ["Task", "load_task", "task_names"]

CATALOG = Path(__file__).parents[1] / "catalog" / "tasks"
SUITE = Path(__file__).parents[1] / "suite" / "data"

COLUMNS = {"classification": ("label",), "regression": ("label",), "span": ("answers",), "mlm": ()}
"""Kind of task -> columns that it needs besides the texts."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: what its rows are, how it is scored, and how a network is trained on it."""

    name: str
    version: int
    about: str
    """The question that an example asks, in one line."""
    source: str
    """Where the texts come from."""
    kind: str
    """classification, regression, span or mlm."""
    texts: tuple[str, ...]
    """Columns with text: one, or the two of a pair."""
    metric: str
    margin: float
    """Largest loss against the dense network that still counts as matching, in points."""
    recipe: TrainSpec
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of their numbers."""
    test_split: str = "test"
    """The split that scores come from."""

    def __post_init__(self) -> None:
        if self.kind not in COLUMNS:
            raise unknown("kind of task", self.kind, COLUMNS)
        if self.kind == "classification" and len(self.labels) < 2:
            raise SpecError(f"task {self.name!r} needs two labels or more, got {self.labels}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a row must have."""
        return (*self.texts, *COLUMNS[self.kind])

    @property
    def folder(self) -> Path:
        """Where the package keeps this task's data, if it does."""
        return SUITE / self.name


def task_names() -> list[str]:
    """The tasks of the catalog."""
    return sorted(path.stem for path in CATALOG.glob("*.yaml"))


@cache
def load_task(name: str) -> Task:
    """The task of that name.

    Raises: SpecError, with the nearest name, if there is none.
    """
    path = CATALOG / f"{name}.yaml"
    if name not in task_names():
        raise unknown("task", name, task_names())
    return _parse(yaml.safe_load(path.read_text(encoding="utf-8")), str(path.name))


def _parse(fields: Mapping[str, Any], where: str) -> Task:
    known = {field.name for field in dataclasses.fields(Task)}
    for name in fields:
        if name not in known:
            raise SpecError(f"{where}: {unknown('field of a task', name, known)}")
    lists = {name: tuple(fields[name]) for name in ("texts", "labels") if name in fields}
    recipe = TrainSpec(**fields["recipe"])
    try:
        return Task(**{**fields, **lists, "recipe": recipe})
    except TypeError as error:
        raise DataError(f"{where}: {error}") from None
