"""From what a user names to the specs of an experiment; no torch, so that mistakes show at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from tombola.registry import unknown
from tombola.specs import EvaluateSpec, FindSpec, TrainSpec
from tombola.task.embedded import model_path
from tombola.task.tasks import Task, load_task
from tombola.ticket.schedule import path

__all__ = ["evaluate_options", "find_options"]

S = TypeVar("S", FindSpec, EvaluateSpec)


def find_options(options: Mapping[str, Any]) -> tuple[FindSpec, Task, TrainSpec]:
    """The search, its task, and the task's recipe as changed by the options.

    Args:
        options: fields of `FindSpec` and of `TrainSpec`; those not named keep their default, or
            what the task's recipe says.

    Raises: SpecError, ModelError, for a name or a value that makes no sense.
    """
    spec, task, recipe = _specify(FindSpec, options, FindSpec.task)
    path(spec.schedule, sparsity=spec.sparsity, step=spec.step)
    model_path(spec.model)
    return spec, task, recipe


def evaluate_options(options: Mapping[str, Any], task: str) -> tuple[EvaluateSpec, Task, TrainSpec]:
    """The same for an evaluation, whose task is that of the ticket unless another is named."""
    return _specify(EvaluateSpec, options, task)


def _specify(kind: type[S], options: Mapping[str, Any], task: str) -> tuple[S, Task, TrainSpec]:
    mine = {field.name for field in dataclasses.fields(kind)}
    theirs = {field.name for field in dataclasses.fields(TrainSpec)} - {"seed"}
    for name in options:
        if name not in mine | theirs:
            raise unknown("option", name, mine | theirs)
    chosen: dict[str, Any] = {k: v for k, v in options.items() if k in mine}
    chosen["task"] = chosen.get("task") or task
    spec = kind(**chosen)
    found = load_task(chosen["task"])
    changes = {k: v for k, v in options.items() if k in theirs}
    return spec, found, dataclasses.replace(found.recipe, **changes)
