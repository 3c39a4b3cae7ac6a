"""A script with which a shell completes verbs, flags, and the names of what is built in."""

import argparse
from collections.abc import Iterable, Mapping
from importlib import import_module
from shlex import join

from tombola.base.registry import unknown
from tombola.base.specs import (
    DEFAULT_CONTROLS,
    INIT_NAMES,
    MERGE_RULES,
    OPTIONAL_CONTROLS,
    SCOPE_NAMES,
    STRUCTURE_NAMES,
)
from tombola.base.specs.lab import ENGINES
from tombola.base.specs.prune import ALLOCATIONS
from tombola.cli.flags import add_flags
from tombola.cli.main import VERBS
from tombola.cli.parser import Parser, Verb
from tombola.finders.finder import FINDERS

__all__ = ["SHELLS", "completion_script"]

SHELLS = ("bash", "zsh", "fish")

FOLDERS = ("DIR", "TICKET", "TICKET|MODEL", "DIR|PLAN", "REPO", "TRAINED", "PRETRAINED")
FILES = ("FILE", "SOURCE")
"""What stands for the path of a folder, or of a file, in the help."""


def completion_script(shell: str) -> str:
    """The script for a shell; it starts no Python when it is used.

    Raises: SpecError, for a shell that it can't be made for.
    """
    if shell not in SHELLS:
        raise unknown("completion for the shell", shell, SHELLS)
    from shtab import complete

    return f"{complete(_everything(), shell).rstrip()}\n"


def _everything() -> argparse.ArgumentParser:
    """All verbs in one parser, whose arguments say what completes them."""
    root = argparse.ArgumentParser("tombola", description="Lottery tickets", add_help=False)
    root.add_argument("-h", "--help", action="store_true", help="List the verbs")
    root.add_argument("--version", action="store_true", help="Print the versions")
    verbs = root.add_subparsers(dest="verb", parser_class=_VerbParser)
    for name, (file, about) in VERBS.items():
        defined: Mapping[str, Verb] = import_module(f"tombola.cli.verbs.{file}").VERBS
        parser = verbs.add_parser(name, help=about, description=about)
        defined[name].flags(parser)
        if "--finder" in parser.flags():
            _add_knobs_of_finders(parser)
        for action in parser._actions:
            _say_what_completes(action)
    return root


class _VerbParser(Parser):
    """A parser as argparse makes one for a verb, whatever else it hands down from the root."""

    def __init__(self, prog: str, description: str, **_: object) -> None:
        super().__init__(prog, description)


def _add_knobs_of_finders(parser: Parser) -> None:
    """Add the flags that only other finders than the default one have."""
    for name in FINDERS:
        spec = FINDERS[name].spec
        there = {flag.removeprefix("--").replace("-", "_") for flag in parser.flags()}
        add_flags(parser, spec, leave_out=there)


def _say_what_completes(action: argparse.Action) -> None:
    """Mark an argument with the names that it may have, or that it is a path."""
    place = _place(action)
    names = _names().get(action.dest, ())
    if names and place:
        action.complete = _names_or_paths(names, place)  # type: ignore[attr-defined]
    elif names:
        action.choices = names
    elif place:
        action.complete = place  # type: ignore[attr-defined]


def _place(action: argparse.Action) -> str | None:
    """`directory` or `file`, as shtab calls paths; None for other arguments."""
    if action.metavar in FOLDERS or action.dest == "model":
        return "directory"
    return "file" if action.metavar in FILES or action.dest == "plan" else None


def _names() -> Mapping[str, tuple[str, ...]]:
    """Name of an argument -> what is built in for it."""
    from tombola.cli.verbs.store import ACTIONS
    from tombola.lab.planfile.plan_file import plan_names
    from tombola.models.embedded import EMBEDDED
    from tombola.tasks.task import task_names
    from tombola.ticket.schedule import SCHEDULES

    return {
        "action": tuple(ACTIONS),
        "allocation": ALLOCATIONS,
        "catalog_plan": tuple(plan_names()),
        "controls": (*DEFAULT_CONTROLS, *OPTIONAL_CONTROLS),
        "engine": ENGINES,
        "finder": tuple(FINDERS),
        "init": INIT_NAMES,
        "model": tuple(EMBEDDED),
        "plan": tuple(plan_names()),
        "rule": MERGE_RULES,
        "schedule": tuple(SCHEDULES),
        "scope": SCOPE_NAMES,
        "shell": SHELLS,
        "structure": STRUCTURE_NAMES,
        "task": task_names(),
    }


def _names_or_paths(names: Iterable[str], place: str) -> dict[str, str | dict[str, str]]:
    """What completes an argument that is a name or a path, for each shell, as shtab takes it."""
    words = join(names)
    function = f"_tombola_{'_'.join(names)}_{place}".replace("-", "_")
    option, zsh, fish = {
        "directory": ("-d", "_files -/", "__fish_complete_directories"),
        "file": ("-f", "_files", "__fish_complete_path"),
    }[place]
    return {
        "bash": function,
        "zsh": f"{{compadd -- {words}; {zsh}}}",
        "fish": f"(printf '%s\\n' {words}; {fish} (commandline -ct))",
        "preamble": {
            "bash": f'{function}() {{ compgen -W "{words}" -- "$1"; compgen {option} -- "$1"; }}'
        },
    }
