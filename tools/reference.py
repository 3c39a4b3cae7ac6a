"""What the code says, as Markdown: verbs and their flags, finders and their knobs, YAML fields."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module

from tombola.cli.flags import add_flags
from tombola.cli.main import VERBS
from tombola.cli.parser import FLAGS, Parser, Verb
from tombola.finders.finder import FINDERS
from yaml_reference import arms, cell, plan_file, recipe, task_file

__all__ = ["MADE"]


def verbs() -> str:
    """A section for each verb, with a table for each group of its flags."""
    return "\n\n".join("\n\n".join(verb(name)) for name in VERBS)


def verb(name: str) -> Iterator[str]:
    """The section of a verb, in parts."""
    file, about = VERBS[name]
    defined: Mapping[str, Verb] = import_module(f"tombola.cli.verbs.{file}").VERBS
    parser = Parser(f"tombola {name}", about)
    defined[name].flags(parser)
    yield f"### `tombola {name}`"
    yield f"{about[0].upper()}{about[1:]}."
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.dest != "help"]
        if shown:
            yield table(shown, "" if group.title == FLAGS else str(group.title))


def finders() -> str:
    """A section for each finder, with its knobs."""
    return "\n\n".join("\n\n".join(finder(name)) for name in FINDERS)


def finder(name: str) -> Iterator[str]:
    """The section of a finder, in parts."""
    made = FINDERS[name]
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser, made.spec)
    yield f"### `{name}`"
    yield f"{made.about} ({made.source})." if made.source else f"{made.about}."
    yield table(parser._actions)


def table(actions: Iterable[argparse.Action], title: str = "flag") -> str:
    """Arguments and what they mean."""
    rows = (f"| `{written(action)}` | {cell(action.help)} |" for action in actions)
    return "\n".join((f"| {cell(title) or 'flag'} | |", "|---|---|", *rows))


def written(action: argparse.Action) -> str:
    """An argument as it is written on the command line."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return cell(value)
    return cell(" ".join([action.option_strings[-1], *[value] * (action.nargs != 0)]))


MADE: Mapping[str, Callable[[], str]] = {
    "arms": arms,
    "finders": finders,
    "plan-file": plan_file,
    "recipe": recipe,
    "task-file": task_file,
    "verbs": verbs,
}
"""Name of a marker in a page -> what stands there in the site."""
