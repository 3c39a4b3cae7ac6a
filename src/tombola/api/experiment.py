"""What a search and an evaluation share: a name, an output folder, a store in which all is done."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tombola.base.errors import JobFailedError, OutputError, TombolaError
from tombola.base.keys import changed_knobs, key
from tombola.lab.output_folder import Output
from tombola.lab.run.engine import RunSummary
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.plan.subject import Subject
from tombola.study.table.margins import Margin, margin_of
from tombola.tasks.task import Task, load_task, task_names

__all__ = ["Experiment", "describe", "raise_failed", "read_margin", "stored_in"]


@dataclass(frozen=True)
class Experiment:
    """A search or an evaluation by what made it, and the folder for its result."""

    key: str
    """64 hexadecimal digits."""
    output: Output

    @classmethod
    def of(
        cls,
        kind: str,
        version: int,
        description: Mapping[str, Any],
        *,
        folder: Path | None,
        name: str,
    ) -> "Experiment":
        """The experiment that a description names.

        Args:
            kind: find or evaluate.
            version: version of that kind and of its jobs; incremented when the same description
                comes to mean something else.
            description: everything that makes the result what it is, from `describe`.
            folder: the folder for the result; None is one under `runs/`.
            name: the name of that one, to which the key's first digits are added.

        Raises: OutputError, if the folder holds another experiment or something else.
        """
        digits = key(kind, version, **description)
        folder = folder or Path("runs", f"{name}-{digits[:8]}")
        return cls(digits, Output(folder, dict(description)))


def describe(subject: Subject, **more: Any) -> dict[str, Any]:
    """Everything that makes a result what it is, as JSON; no path, no device."""
    content = {
        **subject.network.to_json(),
        "data": subject.data,
        "task": subject.task.identity,
        "train": changed_knobs(subject.recipe),
        **_named_margin(subject.task),
        **more,
    }
    description: dict[str, Any] = json.loads(json.dumps(content))
    return description


def _named_margin(task: Task) -> dict[str, float]:
    """The margin, unless it is the catalog's or follows from the rule."""
    known = task.name in task_names() and task.margin == load_task(task.name).margin
    return {} if known or task.by_rule else {"margin": task.margin}


def raise_failed(summary: RunSummary) -> None:
    """Raise the error of the first job that failed, if any did.

    Raises: TombolaError, if the job raised one; JobFailedError, for any other exception.
    """
    for job, error in summary.failed:
        if isinstance(error, TombolaError):
            raise error
        raise JobFailedError(f"{job.label}: {type(error).__name__}: {error}") from error


def read_margin(task: Task, store: Store, scoring: Job | None) -> Margin:
    """The margin of a task, once its dense network has been scored on dev, where the rule asks."""
    result: Result | None = store.read(scoring.key) if scoring else None
    return margin_of(task, result, tried=scoring is not None)


@contextmanager
def stored_in(store: Store) -> Iterator[None]:
    """Say, if the result can't be written, that the trainings need not be done again."""
    try:
        yield
    except OutputError as error:
        raise OutputError(
            f"{error} Every training is kept in {str(store.folder)!r}: the same command, even with "
            "another --output, retrains nothing."
        ) from None
