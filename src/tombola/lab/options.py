"""From what a user names to the specs of an experiment; no torch, so that mistakes show at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from tombola.registry import unknown
from tombola.specs import SEEDS, EvaluateSpec, FindSpec, LabSpec, TaskSpec, TrainSpec
from tombola.task.own import named_task
from tombola.task.recipes import recipe_for
from tombola.task.tasks import Task, check_recipe
from tombola.ticket.schedule import rounds

__all__ = ["evaluate_options", "find_options"]

S = TypeVar("S", FindSpec, EvaluateSpec)


def find_options(options: Mapping[str, Any]) -> tuple[FindSpec, Task, TrainSpec, LabSpec]:
    """The search, its task, the task's recipe as changed by the options, and the laboratory.

    Args:
        options: fields of `FindSpec`, `TaskSpec`, `TrainSpec` and `LabSpec`; those not named keep
            their default, or what the task's recipe says.

    Raises: SpecError, ModelError, for a name or a value that makes no sense.
    """
    model = options.get("model", FindSpec.model)
    spec, task, recipe, lab = _specify(FindSpec, options, FindSpec.task, model)
    rounds(spec)
    return spec, task, recipe, lab


def evaluate_options(
    options: Mapping[str, Any], task: str, model: str
) -> tuple[EvaluateSpec, Task, TrainSpec, LabSpec]:
    """The same for an evaluation, whose task is that of the ticket unless another is named."""
    return _specify(EvaluateSpec, options, task, model)


def _specify(
    kind: type[S], options: Mapping[str, Any], task: str, model: str
) -> tuple[S, Task, TrainSpec, LabSpec]:
    mine, named, recipe, lab = (_fields(each) for each in (kind, TaskSpec, TrainSpec, LabSpec))
    recipe -= {*SEEDS}
    known = mine | named | recipe | lab
    for name in options:
        if name not in known:
            raise unknown("option", name, known)
    chosen, about, changes, where = (
        {name: value for name, value in options.items() if name in fields}
        for fields in (mine, named, recipe, lab)
    )
    chosen["task"] = chosen.get("task") or task
    spec = kind(**chosen)
    found = named_task(chosen["task"], TaskSpec(**about))
    changed = recipe_for(found, model, changes)
    check_recipe(found, changed)
    return spec, found, changed, LabSpec(**where)


def _fields(spec: type) -> set[str]:
    return {field.name for field in dataclasses.fields(spec)}
