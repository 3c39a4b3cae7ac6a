"""From what a user names to the specs of an experiment; no torch, so that mistakes show at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from tombola.registry import unknown
from tombola.specs import SEEDS, EvaluateSpec, FindSpec, LabSpec, TrainSpec
from tombola.task.embedded import model_path
from tombola.task.tasks import Task, load_task
from tombola.ticket.schedule import rounds

__all__ = ["evaluate_options", "find_options"]

S = TypeVar("S", FindSpec, EvaluateSpec)


def find_options(options: Mapping[str, Any]) -> tuple[FindSpec, Task, TrainSpec, LabSpec]:
    """The search, its task, the task's recipe as changed by the options, and the laboratory.

    Args:
        options: fields of `FindSpec`, `TrainSpec` and `LabSpec`; those not named keep their
            default, or what the task's recipe says.

    Raises: SpecError, ModelError, for a name or a value that makes no sense.
    """
    spec, task, recipe, lab = _specify(FindSpec, options, FindSpec.task)
    rounds(spec)
    model_path(spec.model)
    return spec, task, recipe, lab


def evaluate_options(
    options: Mapping[str, Any], task: str
) -> tuple[EvaluateSpec, Task, TrainSpec, LabSpec]:
    """The same for an evaluation, whose task is that of the ticket unless another is named."""
    return _specify(EvaluateSpec, options, task)


def _specify(
    kind: type[S], options: Mapping[str, Any], task: str
) -> tuple[S, Task, TrainSpec, LabSpec]:
    mine, recipe, lab = (_fields(spec) for spec in (kind, TrainSpec, LabSpec))
    recipe -= {*SEEDS}
    for name in options:
        if name not in mine | recipe | lab:
            raise unknown("option", name, mine | recipe | lab)
    chosen, changes, where = (
        {name: value for name, value in options.items() if name in fields}
        for fields in (mine, recipe, lab)
    )
    chosen["task"] = chosen.get("task") or task
    spec = kind(**chosen)
    found = load_task(chosen["task"])
    return spec, found, dataclasses.replace(found.recipe, **changes), LabSpec(**where)


def _fields(spec: type) -> set[str]:
    return {field.name for field in dataclasses.fields(spec)}
