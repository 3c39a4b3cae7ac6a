"""A task: a dozen lines of YAML, of the catalog or of a user, read and checked here."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import inf
from pathlib import Path
from typing import Any

from tombola.base.errors import SpecError, cut
from tombola.base.fields import check_types
from tombola.base.keys import changed_knobs
from tombola.base.records import RecordReader
from tombola.base.registry import unknown
from tombola.base.specs import TrainSpec
from tombola.base.yaml_text import NotYamlError, compose, construct, read_yaml_text
from tombola.models.embedded import EMBEDDED
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.labels import class_name

__all__ = [
    "BERT_BASE",
    "COMPUTED",
    "DIVIDED",
    "NOT_YET",
    "YAML",
    "Task",
    "check_recipe",
    "load_task",
    "not_yet",
    "on_hub",
    "parse_task",
    "task_names",
]

CATALOG = Path(__file__).parents[1] / "catalog" / "tasks"
SUITE = Path(__file__).parents[1] / "suite" / "data"

YAML = (".yaml", ".yml")
"""Ends of the names of files that define a task."""

HUB = "hub:"
"""Prefix of a data set of the hub, where a folder could be named."""

DIVIDED = ("dev", "test")
"""Splits that are made of one, where the labels of the test split are hidden."""

DEFINITION = ("kind", "texts", "label", "labels", "metric", "more", "beside", "n_best", "tsv")
"""Fields that decide what a training makes of the same rows."""

COMPUTED = ("named", "by_rule")
"""Fields that a file can't set: they say what it sets."""

BERT_BASE = "bert-base"
"""The network that the paper's recipes are tuned for."""

CLM = "causal language modelling; mlm is masked language modelling"
NOT_YET = {
    "multi-label": "multi-label classification",
    "multi-label-classification": "multi-label classification",
    "token-classification": "token classification",
    "ner": "token classification",
    "clm": CLM,
    "causal-lm": CLM,
    "causal": CLM,
    "lm": CLM,
    "text-generation": CLM,
    "macro-f1": "F1 averaged over classes",
    "micro-f1": "F1 averaged over classes",
    "weighted-f1": "F1 averaged over classes",
}
"""Names of kinds, tasks and metrics that are not supported yet -> what they mean."""


@dataclass(frozen=True, kw_only=True)
class Task(TaskDefinition):
    """A task: what its rows are, how it is scored, and how a network is trained on it."""

    version: int = 1
    """Part of the results' names: incremented when rows or definition change."""
    about: str = ""
    """The question that an example asks, in one line."""
    source: str = ""
    """Where the texts come from."""
    margin: float = 1.0
    """Largest loss against the dense network that still counts as matching, in points."""
    by_rule: bool = False
    """Whether no margin was given: it stands at its least until the rule has a dense score."""
    recipe: TrainSpec = field(default_factory=TrainSpec)
    """How a network is trained, as far as that doesn't go by the network."""
    named: tuple[str, ...] = ()
    """Knobs that the recipe names; the others go by network and task, see `recipe_for`."""
    tuned_for: str = ""
    """The network that the recipe was found for, an embedded model or bert-base; on others its
    learning rate is scaled. Where there is none, a rate that is named holds on every network."""
    test_split: str = "test"
    """The split that scores come from."""
    divided: str = ""
    """The split that is divided into dev and test by the texts, where test labels are hidden."""
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else is scored: name -> the split that takes the place of the divided one."""
    train_rows: int = 0
    """Rows of the training split that are read, the first; 0 is all."""
    data: str = ""
    """Folder with the files, or a data set of the hub, if not the package's own."""
    hub: str = ""
    """OWNER/NAME/CONFIGURATION of the data set on the hub, read where no data are named."""
    drop_bad_rows: bool = False
    """Leave out rows that the task can't use, and count them, instead of refusing them."""
    sizes: tuple[int, ...] = ()
    """Rows of the published training and development set."""

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.margin < inf:
            raise SpecError(f"margin must be 0 or more points, got {self.margin}.")
        if self.tuned_for not in ("", BERT_BASE, *EMBEDDED):
            raise unknown("network that a recipe is for", self.tuned_for, (BERT_BASE, *EMBEDDED))
        object.__setattr__(self, "named", tuple(sorted({*self.named, *changed_knobs(self.recipe)})))
        if self.kind in NOT_YET:
            raise not_yet(self.kind)
        TASK_KINDS[self.kind].check_definition(self)
        self._check_labels()
        self._check_metrics()
        self._check_columns()

    def _check_labels(self) -> None:
        """Refuse two names of one class."""
        names = [class_name(label) or label for label in self.labels]
        if twice := [
            label for label, name in zip(self.labels, names, strict=True) if names.count(name) > 1
        ]:
            raise SpecError(
                f"task {self.name!r} needs labels that differ, got {', '.join(map(cut, twice))}, "
                "which are the same: numbers are compared by value, true and false in any case. "
                "Leave one out."
            )

    def _check_metrics(self) -> None:
        """Refuse a metric of another kind of task."""
        known = TASK_KINDS[self.kind].metrics
        for metric in (self.metric, *self.more):
            if metric in NOT_YET:
                raise SpecError(
                    f"{metric!r} ({NOT_YET[metric]}) is not supported yet. Metrics for "
                    f"{self.kind}: {', '.join(known)}."
                )
            if metric not in known:
                raise unknown(f"metric of kind {self.kind}", metric, known)

    def _check_columns(self) -> None:
        """Refuse too few or too many columns with text, and one column in two roles."""
        count = TASK_KINDS[self.kind].text_columns
        if len(self.texts) not in count:
            wanted = " or ".join(map(str, count))
            raise SpecError(
                f"task {self.name!r} of kind {self.kind} needs {wanted} columns with text, got "
                f"{', '.join(self.texts) or 'none'}."
            )
        used = [*self.texts, *(self.label for name in self.columns if name == "label")]
        if twice := sorted({name for name in used if used.count(name) > 1}):
            raise SpecError(
                f"task {self.name!r} needs columns that differ for its texts and its label, got "
                f"{', '.join(map(cut, twice))} twice. List each once."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that a row must have."""
        return (*self.texts, *TASK_KINDS[self.kind].columns)

    @property
    def folder(self) -> Path:
        """Where the package keeps this task's data, if it does."""
        return SUITE / self.name

    @property
    def embedded(self) -> bool:
        """Whether the package has this task's data."""
        return self.folder.is_dir() and self.name in task_names()

    @property
    def place(self) -> str | None:
        """Where the data are if the user names no other place; None for the package's own."""
        return self.data or (None if self.embedded or not self.hub else f"{HUB}{self.hub}")

    @cached_property
    def identity(self) -> list[Any]:
        """Identity of the task in a result: name, version, and the definition of a user's own."""
        mine = self._definition()
        if self.name in task_names() and mine == load_task(self.name)._definition():
            return [self.name, self.version]
        return [self.name, self.version, mine]

    def _definition(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.to_json())
        return {name: fields[name] for name in DEFINITION if fields[name] or name == "kind"}

    def also_scored(self) -> dict[str, "Task"]:
        """Name -> this task with another split in the place of the divided one; see `beside`."""
        if self.test_split not in (*DIVIDED, "validation"):
            return {}
        return {
            name: replace(self, divided=split, beside={}) for name, split in self.beside.items()
        }

    def to_json(self) -> str:
        """One line of JSON, whose recipe has the knobs that are named."""
        fields = dataclasses.asdict(self)
        fields["recipe"] = {name: fields["recipe"][name] for name in fields.pop("named")}
        if fields.pop("by_rule"):
            del fields["margin"]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """What `to_json` wrote."""
        return parse_task(json.loads(text), "a task")


def not_yet(name: str) -> SpecError:
    """The error for a kind of task that is known but not supported yet."""
    kinds = sorted(TASK_KINDS)  # in whichever order they have been imported
    return SpecError(
        f"{name!r} ({NOT_YET[name]}) is not supported yet. The kinds are {', '.join(kinds)}."
    )


def on_hub(place: str | Path | None) -> bool:
    """Whether data are on the hub, and not in a folder."""
    return str(place).startswith(HUB)


@cache
def task_names() -> tuple[str, ...]:
    """The tasks of the catalog, sorted."""
    files = CATALOG.rglob("*.yaml")
    return tuple(sorted(path.relative_to(CATALOG).with_suffix("").as_posix() for path in files))


def load_task(name: str) -> Task:
    """The task of that name, or the one that a YAML file defines, as the file is now.

    Args:
        name: the name of a task in the catalog, or a path that ends in .yaml.

    Raises: SpecError, with the nearest name, if there is none, or for a mistake in the file.
    """
    if Path(name).suffix in YAML:
        return _read(Path(name))
    return _of_catalog(name)


@cache
def _of_catalog(name: str) -> Task:
    if name in NOT_YET:
        raise not_yet(name)
    if name not in task_names():
        raise unknown("task", name, task_names())
    path = CATALOG / f"{name}.yaml"
    return parse_task(construct(compose(read_yaml_text(path))), path.name)


def _read(path: Path) -> Task:
    """A task that a user has defined; its data are relative to the file."""
    try:
        fields = construct(compose(read_yaml_text(path)))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not YAML
        line = f"line {error.line}: " if isinstance(error, NotYamlError) and error.line else ""
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise SpecError(
            f"expected a task as YAML in {str(path)!r}, got: {line}{reason}. "
            f"{'Fix the file.' if path.is_file() else 'Check the path.'}"
        ) from None
    if not isinstance(fields, dict):
        raise SpecError(f"{path}: expected `field: value` lines, got {cut(fields)}.")
    task = parse_task({"name": path.stem, **fields}, str(path))
    if task.data and not on_hub(task.data):
        return replace(task, data=str(path.parent / Path(task.data).expanduser()))
    return task


def parse_task(fields: Mapping[str, Any], where: str) -> Task:
    """A task from the fields of a YAML file.

    Args:
        fields: those of `Task`, with lists for its tuples and the recipe as a mapping.
        where: the file, for errors.

    Raises: SpecError, naming the file, for a field that does not exist, is missing or doesn't fit.
    """
    reader = RecordReader(where=where, remedy="Fix the file.", handwritten=True)
    given = {name: value for name, value in fields.items() if value is not None}
    recipe = given.get("recipe", {})
    named = [*recipe] if isinstance(recipe, Mapping) else []
    computed = dict(zip(COMPUTED, (named, "margin" not in given), strict=True))
    return reader.read(Task, given, what="a task", computed=computed)


def check_recipe(task: Task, recipe: TrainSpec) -> None:
    """Refuse a recipe with knobs that mean nothing for this kind of task.

    Raises: SpecError, naming the knob.
    """
    mine = TASK_KINDS[task.kind].knobs
    if not TASK_KINDS[task.kind].softened and (
        recipe.distill_temperature != TrainSpec.distill_temperature
    ):
        raise SpecError(
            f"distill_temperature softens probabilities, got {recipe.distill_temperature:g} for "
            f"{task.name!r} of kind {task.kind}, which has none. Leave it out."
        )
    for kind in TASK_KINDS:
        for name in TASK_KINDS[kind].knobs:
            if getattr(recipe, name) and name not in mine:
                raise SpecError(
                    f"{name} is for tasks of kind {kind}, got {getattr(recipe, name)} for "
                    f"{task.name!r} of kind {task.kind}. Leave it out."
                )
