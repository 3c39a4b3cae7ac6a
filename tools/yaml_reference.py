"""The fields of task and plan files, as Markdown: what each takes, its default and meaning."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_origin

from tombola.base.fields import field_help
from tombola.base.specs import SEEDS, PruneSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.arm import ARMS, ArmName, ControlName, Sparsities, TaskName, TicketFrom
from tombola.lab.planfile.fields import IN_A_FILE
from tombola.lab.planfile.finder_arm import FinderArm
from tombola.lab.planfile.plan_file import SIMPLE, VERSION, PlanFile
from tombola.tasks.recipes import UNTUNED
from tombola.tasks.task import COMPUTED, Task

__all__ = ["arms", "cell", "plan_file", "recipe", "task_file"]

Row = tuple[str, str, str, str]
"""A field: its name, what it takes, its default, and what it means."""

TAKES: Mapping[Any, tuple[str, str]] = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    bool: ("true or false", ""),
    str: ("text", "texts"),
    Decimal: ("fraction", "fractions"),
    TaskName: ("task of the plan", "tasks of the plan"),
    ArmName: ("arm of the plan", ""),
    ControlName: ("control", "controls"),
    Sparsities: ("fraction, list of fractions, or either for each task", ""),
    TrainSpec: ("fields of a recipe", ""),
    TicketFrom: ("folder of a ticket, or `{arm: NAME, sparsity: X}`", ""),
}
"""Type of a field -> what one value of it is called, and several."""


def task_file() -> str:
    """The fields of a task."""
    rows = field_rows(Task, leave_out=COMPUTED)
    defaults = {"name": "that of the file", "margin": "by the rule"}
    return table((name, takes, defaults.get(name, old), about) for name, takes, old, about in rows)


def recipe() -> str:
    """The fields of a recipe."""
    rows = field_rows(TrainSpec, leave_out=SEEDS)
    defaults = {row[0]: row[2] for row in rows} | {"learning_rate": "by the network"}
    for name, value in UNTUNED.items():
        defaults[name] += f"; {written(value)} in a task without `tuned_for`"
    return table((name, takes, defaults[name], about) for name, takes, _, about in rows)


def plan_file() -> str:
    """The fields of a plan, and those of a task in it."""
    about = field_help(PlanFile)
    rows = [
        ("version", "whole number", "required", f"Version of the format: {VERSION}."),
        *(row for row in field_rows(PlanFile) if row[0] in SIMPLE),
        ("tasks", "list of names, or fields for each name", "required", about["tasks"]),
        ("train", "fields of a recipe", "", "What is changed of the recipe of every task."),
        ("arms", "fields for each name", "required", about["arms"]),
    ]
    in_a_plan = [
        ("train", "fields of a recipe", "", "What is changed of the recipe of this task alone."),
        ("data", "text", "", "Its files, relative to the plan, or `hub:OWNER/NAME`."),
    ]
    return f"{table(rows)}\n\n### A task in a plan\n\n{table(in_a_plan)}"


def arms() -> str:
    """A section for each kind of arm."""
    return "\n\n".join([*map(arm, sorted(ARMS)), *finder_arms()])


def arm(kind: str) -> str:
    """The section of a kind of arm that is no finder's."""
    about, rows = str(ARMS[kind].__doc__).splitlines()[0], field_rows(ARMS[kind])
    return f"### `kind: {kind}`\n\n{about}\n\n{table(rows)}"


def finder_arms() -> Iterator[str]:
    """What the arms of all finders have, and what each finder adds."""
    shared = [
        *field_rows(FinderArm, leave_out=("search",)),
        *field_rows(PruneSpec, leave_out=("sparsity",)),
    ]
    yield f"### The name of a finder\n\n{FinderArm.__doc__}\n\n{table(shared)}"
    for name in FINDERS:
        rows = own_rows(FINDERS[name].spec)
        yield f"### `kind: {name}`\n\n{FINDERS[name].about}."
        yield table(rows) if rows else "It has no other fields than those of every finder."


def own_rows(spec: type[PruneSpec]) -> list[Row]:
    """The fields that a finder adds, or gives another default."""
    every = {row[0]: row for row in field_rows(PruneSpec)}
    return [row for row in field_rows(spec) if row != every.get(row[0])]


def field_rows(spec: Any, leave_out: Collection[str] = ()) -> list[Row]:
    """A row for each field of a dataclass."""
    about = field_help(spec)
    return [
        (IN_A_FILE.get(each.name, each.name), takes(each.type), default(each), about[each.name])
        for each in dataclasses.fields(spec)
        if each.name not in leave_out
    ]


def takes(kind: Any) -> str:
    """What a field takes, in words."""
    if kind in TAKES:
        return TAKES[kind][0]
    if get_origin(kind) is tuple:
        return f"list of {TAKES[get_args(kind)[0]][1]}"
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return f"{takes(get_args(kind)[1])} for each name"
    return " or ".join(takes(each) for each in get_args(kind) if each is not NoneType)


def default(field: "dataclasses.Field[Any]") -> str:
    """The default as it would be written; empty where nothing is the default."""
    value = field.default
    if value is dataclasses.MISSING:
        return "" if field.default_factory is not dataclasses.MISSING else "required"
    return written(value)


def written(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`" if value else ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`" if isinstance(value, int | str | Decimal) and value != "" else ""


def table(rows: Iterable[Row]) -> str:
    """The fields, one a line."""
    lines = (f"| `{name}` | {' | '.join((*facts, cell(about)))} |" for name, *facts, about in rows)
    return "\n".join(("| field | takes | default | meaning |", "|---|---|---|---|", *lines))


def cell(text: str | None) -> str:
    """Text that can stand in a cell of a table."""
    return (text or "").replace("%%", "%").replace("|", r"\|").replace("<", "&lt;")
