"""Experiments as YAML: reads a plan file, says what is wrong with it, and makes it a plan."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node

from tombola.base.errors import SpecError, TicketError
from tombola.base.registry import unknown
from tombola.base.specs import (
    DEFAULT_CONTROLS,
    OPTIONAL_CONTROLS,
    SEEDS,
    TUNE,
    FindSpec,
    TaskSpec,
    TrainSpec,
)
from tombola.base.yaml_text import read_yaml_text
from tombola.lab.planfile.arm import Arm, ArmContext, ArmName, ControlName, TaskName
from tombola.lab.planfile.arms import kind_of_arm, kinds_of_arms
from tombola.lab.planfile.fields import Fields, compose
from tombola.lab.starting_ticket import StartingTickets
from tombola.models.embedded import EMBEDDED
from tombola.plan.cell import Cell
from tombola.plan.job import Job, scoring
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.own_task import named_task
from tombola.tasks.recipes import recipe_for
from tombola.tasks.task import Task, on_hub

__all__ = ["PlanFile", "expand", "plan_names", "plan_text", "read_plan"]

VERSION = 1
"""Version of the format of plan files."""

CATALOG = Path(__file__).parents[2] / "catalog" / "plans"

Changes = Mapping[str, Any]
"""Knob -> value where a recipe is changed."""


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The content of a plan file."""

    tasks: Mapping[str, Changes]
    """The tasks: a list of names, or each name with the changes to its recipe."""

    arms: Mapping[str, Arm]
    """What is compared: name -> kind and knobs."""

    about: str = ""
    """The question that the plan answers, in one line."""

    model: str = FindSpec.model
    """The network: an embedded model, a folder that save_pretrained() wrote, or a hub id."""

    scope: str = FindSpec.scope
    """The weights that may be pruned: encoder, or encoder+pooler."""

    seeds: tuple[int, ...] = FindSpec.seeds
    """Seeds of the searches and trainings of every arm that names no others."""

    budget: float = FindSpec.budget
    """Length of every search, in trainings' worth of steps, unless its arm sets its own."""

    eval_split: str = TaskSpec.eval_split
    """Split that scores come from: test, dev, or validation, which is the whole development set."""

    drop_bad_rows: bool = TaskSpec.drop_bad_rows
    """Leave out rows with a label, text or answer that can't be used, and count them."""

    data: Mapping[str, str | Path]
    """Task -> its files, or `hub:OWNER/NAME`, where they are not those that the task names."""

    where: str
    """Name of the file."""

    folder: Path
    """The folder that it is in."""

    lines: Mapping[tuple[str, str], int]
    """(tasks or arms, name) -> its line."""

    @contextmanager
    def at(self, part: str, name: str) -> Iterator[None]:
        """Put file and line of a task or an arm before the message of a SpecError."""
        try:
            yield
        except (SpecError, TicketError) as error:
            raise type(error)(f"{self.where}:{self.lines[part, name]}: {error}") from None


def plan_names() -> list[str]:
    """The plans of the catalog."""
    return sorted(path.stem for path in CATALOG.glob("*.yaml"))


def plan_text(name: str) -> str:
    """The YAML of a plan of the catalog, comments included.

    Raises: SpecError, with the nearest name, if there is none.
    """
    return read_yaml_text(_in_catalog(name))


def _in_catalog(name: str) -> Path:
    """The file of a plan of the catalog."""
    if name not in plan_names():
        raise unknown("plan", name, plan_names())
    return CATALOG / f"{name}.yaml"


def read_plan(plan: str | Path) -> PlanFile:
    """Read a plan of the catalog, or a YAML file.

    Args:
        plan: a name, or a path; what ends in .yaml or has a folder before it is a path.

    Raises: SpecError, with file, line and the nearest name, for whatever is wrong.
    """
    path = Path(plan)
    if isinstance(plan, str) and path.suffix not in (".yaml", ".yml") and len(path.parts) < 2:
        path = _in_catalog(plan)
    try:
        text = read_yaml_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"expected a plan file, got {str(plan)!r}: {reason}.") from None
    return _parse(text, path.name if path.parent == CATALOG else str(plan), path.parent)


def expand(
    plan: PlanFile,
    subject: Callable[[Task, TrainSpec], Subject],
    under_ticket: Callable[[Subject, str], Subject] | None = None,
) -> Plan:
    """The jobs and cells of a plan file.

    Args:
        plan: what stands in the file.
        subject: finds out the fingerprints of the plan's network, and of a task with its recipe.
        under_ticket: subject and folder of a ticket -> the subject of a search that starts from
            it; by default they are read.

    Raises: SpecError, if a task does not exist or an arm asks for what another hasn't got;
        TicketError, if a search can't start from a ticket.
    """
    subjects = {}
    for name, changes in plan.tasks.items():
        with plan.at("tasks", name):
            asked = TaskSpec(eval_split=plan.eval_split, drop_bad_rows=plan.drop_bad_rows)
            task = named_task(name, asked, beside=plan.folder)
            if name in plan.data:
                task = replace(task, data=str(plan.data[name]))
            subjects[name] = subject(task, recipe_for(task, plan.model, changes))
    cells: dict[str, list[Cell]] = {}
    context = ArmContext(subjects, plan.seeds, cells, under_ticket or StartingTickets())
    for name in sorted(plan.arms, key=lambda name: len(_chain(name, plan.arms))):
        with plan.at("arms", name):
            cells[name] = plan.arms[name].cells(name, context)
    made = [cell for name in plan.arms for cell in cells[name]]
    return Plan.of([*_scorings(made), *made])


def _scorings(cells: Iterable[Cell]) -> Iterator[Job]:
    """The first dense network of each task whose margin goes by the rule, scored on dev."""
    first = {cell.target: cell.baseline for cell in reversed([*cells])}
    for training in first.values():
        if training.subject.task.by_rule and training.subject.dev:
            yield scoring(training)


# --- reading -----------------------------------------------------------------

SIMPLE = {
    field.name: field
    for field in dataclasses.fields(PlanFile)
    if field.name in ("about", "model", "scope", "seeds", "budget", "eval_split", "drop_bad_rows")
}
RECIPE = {field.name: field for field in dataclasses.fields(TrainSpec) if field.name not in SEEDS}


def _parse(text: str, where: str, folder: Path) -> PlanFile:
    """What stands in a plan; folders that it names are relative to its own."""
    root = compose(text, where)
    controls = {ControlName: ("control", [*DEFAULT_CONTROLS, *OPTIONAL_CONTROLS])}
    fields = Fields(where, folder, controls)
    entries = fields.entries(root, "the plan")
    _check_version(fields, root, entries)
    known = ("version", *SIMPLE, "tasks", "train", "arms")
    for name, (key, _) in entries.items():
        with fields.at(fields.line(key)):
            if name not in known:
                raise unknown("field of a plan", name, known)
    for name in ("tasks", "arms"):
        if name not in entries or not entries[name][1].value:
            raise SpecError(f"{where}: a plan needs `{name}`, got none. Add some.")
    lines: dict[tuple[str, str], int] = {}
    data: dict[str, str] = {}
    train = _recipe(fields, entries["train"][1], "train") if "train" in entries else {}
    tasks = _tasks(fields, entries["tasks"][1], train, lines, data)
    fields.names[TaskName] = ("task of the plan", list(tasks))
    simple = {name: entries[name] for name in SIMPLE if name in entries}
    given = fields.read(simple, SIMPLE, "a plan")
    for name in given.keys() - {"about", "eval_split", "drop_bad_rows"}:
        with fields.at(fields.line(entries[name][0])):
            FindSpec(**{name: given[name]})
    everywhere = {"budget": given["budget"]} if "budget" in given else {}
    arms = _arms(fields, entries["arms"][1], lines, everywhere)
    model = given.get("model", FindSpec.model)
    if model not in EMBEDDED and fields.place(model).is_dir():
        given["model"] = str(fields.place(model))
    return PlanFile(
        tasks=tasks,
        arms=arms,
        data={
            task: place if on_hub(place) else fields.place(place) for task, place in data.items()
        },
        where=where,
        folder=folder,
        lines=lines,
        **given,
    )


def _check_version(
    fields: Fields, root: MappingNode, entries: Mapping[str, tuple[Node, Node]]
) -> None:
    """Refuse a plan of another version before its fields are read."""
    if "version" not in entries:
        raise SpecError(f"{fields.where}: a plan needs `version: {VERSION}`, got none. Add it.")
    node = entries["version"][1]
    version = fields.one(node, int, "version")
    with fields.at(fields.line(node)):
        if version > VERSION:
            raise SpecError(
                f"this tombola reads plans of version {VERSION}, got version {version}. "
                "Update tombola."
            )
        if version < 1:
            raise SpecError(f"version must be {VERSION}, got {version}.")


def _recipe(fields: Fields, node: Node, what: str) -> Changes:
    """What is changed of a recipe."""
    entries = fields.entries(node, what)
    for key, given in entries.values():
        if key.value == "learning_rate" and given.value == TUNE:
            with fields.at(fields.line(key)):
                raise SpecError(
                    f"learning_rate: {TUNE} is for `tombola find`, which chooses on dev. Write the "
                    "number that it finds."
                )
    changes = fields.read(entries, RECIPE, "a recipe")
    with fields.at(fields.line(node)):
        TrainSpec(**changes)
    return changes


def _tasks(
    fields: Fields,
    node: Node,
    train: Changes,
    lines: dict[tuple[str, str], int],
    data: dict[str, str],
) -> dict[str, Changes]:
    """Task -> what is changed of its recipe: by the plan, and by the task's own field.

    Lines, and folders as they stand there, go into `lines` and `data`.
    """
    if not isinstance(node, MappingNode):
        names = fields.several(node, str, "tasks")
        lines |= {
            ("tasks", name): fields.line(each) for name, each in zip(names, node.value, strict=True)
        }
        return dict.fromkeys(names, train)
    tasks: dict[str, Changes] = {}
    for name, (key, settings) in fields.entries(node, "tasks").items():
        lines["tasks", name] = fields.line(key)
        tasks[name] = train
        if settings.value != "":
            for setting, (inner, given) in fields.entries(settings, f"task {name!r}").items():
                with fields.at(fields.line(inner)):
                    if setting not in ("train", "data"):
                        raise unknown("field of a task", setting, ["train", "data"])
                if setting == "train":
                    tasks[name] = {**train, **_recipe(fields, given, "train")}
                else:
                    data[name] = fields.one(given, str, "data")
    return tasks


def _arms(
    fields: Fields,
    node: Node,
    lines: dict[tuple[str, str], int],
    everywhere: Mapping[str, Any],
) -> dict[str, Arm]:
    """Name -> arm; what holds everywhere is for those that have such a field and don't give it."""
    entries = fields.entries(node, "arms")
    lines |= {("arms", name): fields.line(key) for name, (key, _) in entries.items()}
    fields.names[ArmName] = ("arm", list(entries))
    arms: dict[str, Arm] = {}
    kinds: dict[str, str] = {}
    for name, (key, settings) in entries.items():
        what = f"arm {name!r}"
        inside = fields.entries(settings, what)
        with fields.at(fields.line(key)):
            if "kind" not in inside:
                raise SpecError(
                    f"{what} needs a `kind`, got none. There are: {', '.join(kinds_of_arms())}."
                )
        kinds[name] = fields.one(inside["kind"][1], str, "kind")
        with fields.at(fields.line(inside["kind"][0])):
            kind = kind_of_arm(kinds[name])
        described = f"arm {name!r} of kind {kinds[name]}"
        arms[name] = fields.build(
            kind, settings, described, leave_out={"kind"}, everywhere=everywhere
        )
    for name, arm in arms.items():
        with fields.at(lines["arms", name]):
            chain = _chain(name, arms)
            if chain[-1] in chain[:-1]:
                circle = " -> ".join(chain[chain.index(chain[-1]) :])
                raise SpecError(
                    f"arms refer to each other in a circle: {circle}. Let one refer to an imp arm."
                )
            if len(chain) > 1 and kinds[chain[1]] not in (after := kinds_of_arms(arm.after)):
                raise SpecError(
                    f"arm {name!r} must refer to an arm of kind {' or '.join(after)}, got "
                    f"{chain[1]!r} of kind {kinds[chain[1]]}. Choose another."
                )
    return arms


def _chain(name: str, arms: Mapping[str, Arm]) -> list[str]:
    """An arm, the one that it is of, and so on, until the last or one that was there before."""
    chain = [name]
    while (of := getattr(arms[chain[-1]], "of", None)) is not None:
        chain.append(of)
        if of in chain[:-1]:
            break
    return chain
