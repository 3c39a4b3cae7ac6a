"""The specs of an experiment from a user's options; without torch, so that errors come at once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tombola.base.errors import SpecError
from tombola.base.registry import unknown
from tombola.base.specs import (
    SEEDS,
    TUNE,
    FindSpec,
    FixedTicketSpec,
    LabSpec,
    PruneSpec,
    TaskSpec,
    TrainSpec,
)
from tombola.finders.finder import FINDERS, refuse_knobs_of_others
from tombola.lab.ticket_origin import Origin
from tombola.tasks.own_task import changed_task, named_task
from tombola.tasks.recipes import recipe_for
from tombola.tasks.task import Task, check_recipe

__all__ = ["FindOptions", "find_options", "ticket_options"]

S = TypeVar("S", bound=FixedTicketSpec)


@dataclass(frozen=True)
class FindOptions:
    """The specs of a search."""

    search: FindSpec
    prune: PruneSpec
    """Knobs of the finder."""
    task: Task
    recipe: TrainSpec
    """The task's, as changed by the options."""
    lab: LabSpec


def find_options(options: Mapping[str, Any]) -> FindOptions:
    """The specs of the search that options ask for.

    Args:
        options: fields of `FindSpec`, of the finder's spec, of `TaskSpec`, `TrainSpec` and
            `LabSpec`; others have their default, or one that depends on task and network. A
            learning rate that is to be tuned is still the default here.

    Raises: SpecError, ModelError, for a name or a value that makes no sense.
    """
    given = {k: v for k, v in options.items() if (k, v) != ("learning_rate", TUNE)}
    name = given.get("finder", FindSpec.finder)
    finder = FINDERS[FindSpec(finder=name).finder]
    refuse_knobs_of_others(finder, given)
    mine, prune, about, changes, lab = _sorted((FindSpec, finder.spec), given)
    spec, knobs = FindSpec(**mine), finder.spec(**prune)
    knobs.check_sparse()
    task = named_task(spec.task, TaskSpec(**about))
    if len(given) < len(options) and task.test_split in ("dev", "validation"):
        raise SpecError(
            f"--learning-rate {TUNE} chooses on dev, so scores come from another split, got "
            f"{task.test_split!r}. Pass a number, or use another --eval-split."
        )
    recipe = recipe_for(task, spec.model, changes)
    check_recipe(task, recipe)
    knobs.check_search()
    return FindOptions(spec, knobs, task, recipe, LabSpec(**lab))


def ticket_options(
    kind: type[S], options: Mapping[str, Any], origin: Origin, model: str
) -> tuple[S, Task, TrainSpec, LabSpec]:
    """The specs of the training of a fixed ticket that options ask for.

    Args:
        kind: the spec of the verb.
        options: fields of that spec, `TaskSpec`, `TrainSpec` and `LabSpec`.
        origin: the origin of the ticket, whose task and recipe are used unless the options name
            others.
        model: name or folder of the network.
    """
    if options.get("learning_rate") == TUNE:
        raise SpecError(
            f"--learning-rate {TUNE} is for `tombola find`, got it for a ticket. Pass a number, or "
            "leave it out for the ticket's."
        )
    mine, about, changes, lab = _sorted((kind,), options)
    described = TaskSpec(**about)
    if mine.get("task") or origin.task is None:
        task = named_task(mine.get("task") or FindSpec.task, described)
    else:
        task = changed_task(origin.task, described)
    mine["task"] = task.name
    recipe = recipe_for(task, model, {**(origin.recipe if origin.is_of(task) else {}), **changes})
    check_recipe(task, recipe)
    return kind(**mine), task, recipe, LabSpec(**lab)


def _sorted(first: tuple[type, ...], options: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Options sorted by spec: the given ones, `TaskSpec`, `TrainSpec` and `LabSpec`.

    Raises: SpecError, with the nearest name, for an option that is a field of none of them.
    """
    kinds = [
        *map(_fields, first),
        _fields(TaskSpec),
        _fields(TrainSpec) - {*SEEDS},
        _fields(LabSpec),
    ]
    known = set().union(*kinds)
    for name in options:
        if name not in known:
            raise unknown("option", name, known)
    return tuple({k: v for k, v in options.items() if k in fields} for fields in kinds)


def _fields(spec: type) -> set[str]:
    return {field.name for field in dataclasses.fields(spec)}
