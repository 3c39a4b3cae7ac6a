"""Arguments that several verbs share: a plan, its data, the store, a file for the result."""

import shlex
import sys
from argparse import Namespace, _ActionsContainer
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import SpecError, cut
from tombola.base.json_text import json_text
from tombola.base.specs import LabSpec, Spec, TrainSpec
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser

if TYPE_CHECKING:
    from tombola.lab.starting_ticket import StartingTickets
    from tombola.lab.store.result_store import Store
    from tombola.lab.subjects import SubjectFactory
    from tombola.plan.plan import Plan
    from tombola.plan.subject import Subject
    from tombola.study.table.row import Row
    from tombola.tasks.task import Task

__all__ = [
    "STDOUT",
    "check_json",
    "command",
    "data_flag",
    "json_flag",
    "knobs_of",
    "lab_of",
    "plan_flags",
    "plan_in_store",
    "plan_of",
    "refuse_shared_data",
    "refuse_unused_data",
    "rows_of",
    "store_flag",
    "store_of",
    "study_flags",
    "write_json",
]


STDOUT = "-"
"""The file name that means standard output."""


def plan_flags(parser: Parser, more: str = "", *, several: bool = False) -> None:
    """Add the plan and its data.

    Args:
        parser: where they are added.
        more: what else may be given as a plan.
        several: whether several plans may be given, as `plans`.
    """
    about = f"A plan by name (`tombola plans` lists them) or a YAML file{more}"
    if several:
        parser.add_argument("plans", nargs="+", metavar="PLAN", help=f"{about}; or several")
    else:
        parser.add_argument("plan", metavar="PLAN", help=about)
    data_flag(parser)


def study_flags(parser: Parser, *, several: bool = False) -> None:
    """Add the flags of every verb that reads the runs of a plan, or of several plans."""
    tables = ", or a table of runs (.csv, .parquet) written by `tombola table`"
    plan_flags(parser, tables, several=several)
    store_flag(parser)
    json_flag(parser)


def data_flag(parser: Parser) -> None:
    """Add `--data`, the data of a plan."""
    parser.add_argument(
        "--data", metavar="DIR", help="Folder with a subfolder of files for each task"
    )


def store_flag(parser: Parser) -> None:
    """Add `--store`, the folder of results."""
    add_flags(parser, LabSpec, only=("store",))


def json_flag(parser: _ActionsContainer, *, bare: bool = False) -> None:
    """Add `--json`, the file for the result.

    Args:
        parser: where the flag is added.
        bare: whether `--json` without a file means `--json -`.
    """
    optional: dict[str, Any] = {"nargs": "?", "const": STDOUT} if bare else {}
    about = f"Write the result as JSON; {STDOUT} prints it instead of the usual text"
    parser.add_argument("--json", metavar="FILE", help=about, **optional)


def check_json(path: str | None) -> None:
    """Check that the file for the result can be written, before anything is computed."""
    if path not in (None, STDOUT):
        from tombola.base.files import check_file

        check_file(path)


def write_json(path: str | None, content: Any) -> bool:
    """Write the result to a file, if one is given; True if it went to standard output instead."""
    if path is None:
        return False
    if path == STDOUT:
        sys.stdout.write(json_text(content))
        return True
    from tombola.base.files import write_file

    write_file(path, json_text(content))
    return False


def command(verb: str, options: Namespace, *names: str) -> str:
    """A shell command that continues with the plan of these options.

    Args:
        verb: the verb of that command.
        options: those of the current command.
        names: further flags to repeat; the plan, its data and the store always are.
    """
    words = ["tombola", verb, options.plan]
    for name in dict.fromkeys(("data", "store", *names)):
        if (value := getattr(options, name, None)) is not None:
            flag, text = f"--{name.replace('_', '-')}", str(value)
            words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return shlex.join(words)


def knobs_of(options: Namespace, spec: type[Spec]) -> dict[str, Any]:
    """The fields of a spec that flags give: name -> value."""
    given = vars(options)
    return {field.name: given[field.name] for field in fields(spec) if field.name in given}


def lab_of(options: Namespace) -> LabSpec:
    """The laboratory settings that the flags give."""
    return LabSpec(**knobs_of(options, LabSpec))


def plan_of(
    options: Namespace, starts: "StartingTickets | None" = None
) -> tuple["Plan", "SubjectFactory"]:
    """The plan that the options name, and the fingerprints of its networks and data.

    Args:
        options: the options, with the plan, its data and the store.
        starts: reads the tickets in folders that searches start from.
    """
    from tombola.lab.planfile.plan_data import data_in
    from tombola.lab.planfile.plan_file import expand, read_plan
    from tombola.lab.subjects import SubjectFactory

    file = read_plan(options.plan)
    if options.data is not None:
        file = data_in(options.data, file)
    subjects = SubjectFactory(Path(lab_of(options).store))

    def subject(task: "Task", recipe: TrainSpec) -> "Subject":
        return subjects.subject(file.model, task, recipe, scope=file.scope, folder=None)

    return expand(file, subject, starts), subjects


def store_of(options: Namespace) -> "Store":
    """The store that the options name.

    Raises: SpecError, if there is none.
    """
    from tombola.lab.store.result_store import Store

    folder = Path(lab_of(options).store)
    if not folder.is_dir() or not any(folder.iterdir()):  # where Store would create one
        got = "an empty folder" if folder.is_dir() else "nothing"
        raise SpecError(
            f"expected a store at {str(folder)!r}, got {got}. Pass its folder as --store."
        )
    return Store(folder)


def plan_in_store(options: Namespace) -> tuple["Plan", "Store"]:
    """The plan and the store that the options name."""
    from tombola.lab.planfile.plan_file import read_plan

    read_plan(options.plan)  # reports a mistyped plan before a missing store
    store = store_of(options)
    plan, subjects = plan_of(options)
    subjects.save()
    return plan, store


def refuse_shared_data(data: str | None, plans: Sequence[str]) -> None:
    """Refuse data for several plans, as those of one are seldom those of another.

    Raises: SpecError.
    """
    if data is not None and len(plans) > 1:
        raise SpecError(
            f"expected one PLAN with --data, got {len(plans)}. Write a table of each with `tombola "
            "table PLAN --data DIR --output FILE`, and pass those instead."
        )


def refuse_unused_data(data: str | None, subject: str) -> None:
    """Refuse data with what has no use for it.

    Args:
        data: the value of --data.
        subject: what the data was given with, such as "a table of runs".

    Raises: SpecError.
    """
    if data is not None:
        raise SpecError(
            f"expected no --data with {subject}, got {cut(data)}. Leave it out: {subject} has all "
            "that is needed."
        )


def rows_of(options: Namespace) -> tuple[list["Row"], tuple["Plan", "Store"] | None]:
    """The rows of a table of runs; or those of a plan, with the plan and its store.

    Raises: SpecError, if the store has no run of the plan, or a table is given data.
    """
    from tombola.study.table.reading import is_table, read_rows
    from tombola.study.table.table import refuse_empty, rows

    if is_table(options.plan):
        refuse_unused_data(options.data, "a table of runs")
        return read_rows(options.plan), None
    plan, store = plan_in_store(options)
    table = rows(plan, store, Path(options.plan).stem)
    refuse_empty(table, store, command("run", options))
    return table, (plan, store)
