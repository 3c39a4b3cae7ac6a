"""Where a ticket comes from: its network, and the task, data, recipe and margin of its search."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tombola.base.errors import DataError, SpecError, TicketError
from tombola.base.records import RecordReader
from tombola.base.specs import SEEDS, TaskSpec, TrainSpec
from tombola.plan.subject import Subject
from tombola.tasks.own_task import named_task
from tombola.tasks.task import Task, on_hub, parse_task, task_names

if TYPE_CHECKING:
    from tombola.ticket.ticket import Ticket

__all__ = ["Origin", "check_network", "origin_fields", "origin_of"]


@dataclass(frozen=True)
class Origin:
    """The search that a ticket comes from, as far as the ticket says."""

    task: Task | None = None
    """The task that it was found on; None if the ticket doesn't say, or by an unknown name only."""
    place: str | None = None
    """Where the data were, a folder or `hub:OWNER/NAME`; None for the package's own."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Knobs of the training, without the seeds."""
    margin: float | None = None
    """The margin of the verdict, in points."""

    def is_of(self, task: Task) -> bool:
        """Whether the ticket was found on that task."""
        return self.task is not None and self.task.identity == task.identity


def origin_fields(subject: Subject, *, margin: float) -> dict[str, Any]:
    """The fields of a ticket's provenance about its search, as plain JSON.

    Args:
        subject: the network, the task, and the recipe.
        margin: the margin of the verdict, in points.

    Returns: recipe, split and margin; data, the folder as an absolute path; and the definition of a
        task that does not come with the package as it is.
    """
    task, place = subject.task, subject.folder
    content: dict[str, Any] = {
        "recipe": dataclasses.asdict(subject.recipe),
        "split": task.test_split,
        "margin": margin,
    }
    if place is not None:
        content["data"] = place if on_hub(place) else str(Path(place).resolve())
    if len(task.identity) > 2:
        content["task"] = json.loads(dataclasses.replace(task, data="").to_json())
    return content


def origin_of(name: str | None, kept: Mapping[str, Any]) -> Origin:
    """The origin of a ticket; of an older one, only the recipe and the name of the task.

    Args:
        name: the name of the task.
        kept: the ticket's provenance.

    Raises: TicketError, for a task or a recipe that is not valid.
    """
    try:
        task = _task(name, kept)
        recipe = _recipe(kept.get("recipe"))
    except (SpecError, DataError) as error:
        raise TicketError(
            f"expected the task and the recipe of a search in ticket.json, got: "
            f"{' '.join(str(error).split()).rstrip('.')}. Fetch the ticket again."
        ) from None
    margin, place = kept.get("margin"), kept.get("data")
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < inf:
        margin = None
    return Origin(task, place if isinstance(place, str) else None, recipe, margin)


def _task(name: str | None, kept: Mapping[str, Any]) -> Task | None:
    """The task, with the split that was scored."""
    definition, split = kept.get("task"), kept.get("split")
    spec = TaskSpec(eval_split=split if isinstance(split, str) else "")
    if definition is None:
        return named_task(name, spec) if name in task_names() and name else None
    if not isinstance(definition, dict):
        raise SpecError(f"a task of fields, not {definition!r}")
    task = parse_task(definition, "its task")
    if PurePosixPath(task.name).is_absolute() or ".." in PurePosixPath(task.name).parts:
        raise SpecError(f"a task named {task.name!r}")
    return task


def _recipe(given: Any) -> dict[str, Any]:
    """The knobs of a recipe without seeds and without those of later versions."""
    if given is None:
        return {}
    known = {f.name for f in dataclasses.fields(TrainSpec)} - {*SEEDS}
    recipe = given
    if isinstance(given, dict):
        recipe = {name: value for name, value in given.items() if name in known}
    RecordReader(where="its recipe", remedy="").read(TrainSpec, recipe)
    return dict(recipe)


def check_network(ticket: "Ticket", fingerprint: str, name: str, option: str = "--model") -> None:
    """Refuse a network that a ticket was not found in.

    Args:
        ticket: the ticket.
        fingerprint: of the network, as `ticket.fingerprint.fingerprint` takes it.
        name: what a message calls the network.
        option: where another network is named.

    Raises: TicketError.
    """
    if fingerprint != ticket.fingerprint:
        raise TicketError(
            f"the ticket was found in a network with fingerprint {ticket.fingerprint[:12]} "
            f"({ticket.model}), got {fingerprint[:12]} ({name}). Pass the network it was found "
            f"in as {option}."
        )
