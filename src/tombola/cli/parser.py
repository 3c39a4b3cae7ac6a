"""An argument parser with one-line errors that also reads flags from a YAML file."""

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tombola.base.errors import SpecError, brief, cut
from tombola.base.registry import closest
from tombola.base.yaml_text import NotYamlError, compose, construct, read_yaml_text

__all__ = ["FLAGS", "Parser", "Verb"]

FLAGS = "flags"
"""Title of the flags that are in no group of their own."""
FEW = 8
"""Flags that a usage line names one by one; the lists below it have all of them."""

AT_HOME = re.compile(r"((?:--[a-z-]+=)?(?:csv:)?)(~/.*)", re.DOTALL)
"""A word of the command line with a path in the user's home."""

MESSAGE = 300
"""Most characters of an argparse message, which quotes arguments in full."""


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose one-line errors suggest the nearest name.

    Flags may also come from a YAML file (`--config`); those on the command line win, wherever they
    stand.
    """

    def __init__(self, prog: str, description: str, given: Sequence[str] = ()) -> None:
        super().__init__(
            prog,
            description=description,
            formatter_class=_Formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self._positionals.title, self._optionals.title = "arguments", FLAGS
        self.refuse: Callable[[str], None] = lambda flag: None
        """Called with an unknown flag, so that a verb may say more than the nearest name."""
        self.given = list(given)
        """The command line, which may decide which flags there are."""
        self.add_argument("-h", "--help", action="help", help="Show this help and exit")

    def error(self, message: str) -> NoReturn:
        """Raise the message that argparse would print with its usage."""
        short = message if len(message) <= MESSAGE else f"{message[:MESSAGE]}…"
        raise SpecError(f"{short}. See `{self.prog} --help`.")

    def print_help(self, file: Any = None) -> None:
        """Print the help; unlike argparse's own, this fails if it can't be written."""
        (file or sys.stdout).write(self.format_help())

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments, after those of a configuration file.

        Raises: SpecError, for an unknown flag or a value of the wrong type.
        """
        try:
            configs = _values_in(argv, "config") if "--config" in self.flags() else []
        except argparse.ArgumentError as error:
            self.error(str(error))
        if len(configs) > 1:
            raise SpecError(
                f"expected one --config, got {' and '.join(map(cut, configs))}. "
                "Put all flags into one file."
            )
        in_file = self._from_file(Path(configs[0])) if configs else ()
        given = [*map(_at_home, (*in_file, *argv))]
        options, rest = self._parse(given)
        if rest:
            name = rest[0].split("=")[0]
            if name.startswith("-"):
                self.refuse(name)
                raise SpecError(self._unknown(name))
            raise SpecError(f"expected flags, got {cut(name)}. See `{self.prog} --help`.")
        return options

    def _parse(self, given: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options and the unknown arguments.

        A flag with an optional value does not consume an argument that is required.
        """
        try:
            return self.parse_known_args(given)
        except SpecError:
            optional = {
                name: f"{name}={action.const}"
                for name, action in self._option_string_actions.items()
                if action.nargs == "?"
            }
            if not optional.keys() & set(given):
                raise
            return self.parse_known_args([optional.get(word, word) for word in given])

    def asked(self, flag: str) -> str | None:
        """The value of a flag that decides which others there are, if it is given.

        It may stand on the command line or in the file of --config.
        """
        with suppress(argparse.ArgumentError):
            return _last([*self._lenient_file(), *self.given], flag)
        return None

    def _lenient_file(self) -> list[str]:
        """The flags with one value of a configuration file; `read` says what is wrong with it."""
        path = _last(self.given, "config")
        if path is None:
            return []
        try:
            content = construct(compose(read_yaml_text(Path(path))))
        except (NotYamlError, OSError, UnicodeDecodeError):
            return []
        fields = content.items() if isinstance(content, dict) else ()
        return [f"--{name}={value}" for name, value in fields if isinstance(value, str)]

    def flags(self) -> list[str]:
        """All long flags."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _unknown(self, flag: str) -> str:
        """What is wrong with a flag that does not exist, and the one that may be meant.

        That has almost the same name, without the dashes, or begins its words with these letters.
        """
        name, names = flag.lstrip("-"), [known.removeprefix("--") for known in self.flags()]
        initials = [known for known in names if _initials(known) == name]
        near = initials[0] if len(initials) == 1 else closest(name, names)
        hint = f"See `{self.prog} --help`." if near is None else f"Did you mean {f'--{near}'!r}?"
        return f"there is no flag {flag!r}. {hint}"

    def _from_file(self, path: Path) -> Iterable[str]:
        """The flags of a configuration file, as command-line arguments."""
        try:
            root = compose(read_yaml_text(path))
            content = construct(root) or {}
        except NotYamlError as error:
            place = f"{path}:{error.line}" if error.line else str(path)
            raise SpecError(f"{place} is not valid YAML: {error}. Fix the file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                f"expected a YAML file as --config, got {str(path)!r}: "
                f"{getattr(error, 'strerror', None) or error}."
            ) from None
        if not isinstance(root, MappingNode) and content:
            raise SpecError(f"{path}: expected `flag: value` lines, got {brief(content)}.")
        for key, value in root.value if isinstance(root, MappingNode) else ():
            flag = f"--{key.value.replace('_', '-')}" if isinstance(key, ScalarNode) else "a list"
            if flag == "--config":
                raise SpecError(f"{path}: a configuration can't name another. Remove `config`.")
            if flag not in self.flags():
                self.refuse(flag)
                raise SpecError(f"{path}: {self._unknown(flag)}")
            if self._option_string_actions[flag].nargs == 0:
                given = construct(value)
                if not isinstance(given, bool):
                    raise SpecError(f"{path}: {flag} must be true or false, got {brief(given)}.")
                yield from [flag] * given
            else:
                yield f"{flag}={_listed(value, f'{path}: {flag}') or 'none'}"


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split("-"))


def _values_in(words: Sequence[str], flag: str) -> list[str]:
    """The values of one flag among arguments that are not parsed yet.

    Raises: ArgumentError, if the flag stands without a value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{flag}", dest="values", action="append", default=[])
    values: list[str] = parser.parse_known_args(words)[0].values
    return values


def _last(words: Sequence[str], flag: str) -> str | None:
    """The value of one flag among them that counts; None without one."""
    values = _values_in(words, flag)
    return values[-1] if values else None


def _listed(node: Node, what: str) -> str:
    """The value of a flag as it is written in the file; a list is joined with commas."""
    if isinstance(node, SequenceNode):
        return ",".join(_one(each, what, in_list=True) for each in node.value)
    return _one(node, what)


def _one(node: Node, what: str, *, in_list: bool = False) -> str:
    if not isinstance(node, ScalarNode) or node.tag.endswith(":null"):
        got = "nothing" if isinstance(node, ScalarNode) else brief(construct(node))
        raise SpecError(
            f"{what} must be a value or a list of values, got {got}. Leave it out or give one."
        )
    if in_list and "," in node.value:
        raise SpecError(f"{what} can't have a comma in a value of a list, got {cut(node.value)}.")
    return str(node.value)


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size((100, 24)).columns
        super().__init__(prog, max_help_position=28, width=min(columns, 100))

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Lines that break no name at its hyphen."""
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _format_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None,
    ) -> str:
        """The usage; many flags stand in it as `[flags]`, after those that are required."""
        arguments = [each for each in actions if each.required or not each.option_strings]
        if len([*actions]) - len(arguments) > FEW:
            flags = argparse.Action([], FLAGS, nargs="?", metavar=FLAGS)
            actions = [flags, *arguments]
        return super()._format_usage(usage, actions, groups, prefix)


class Verb(NamedTuple):
    """A verb of the command line."""

    flags: Callable[[Parser], None]
    """Adds its arguments to a parser."""
    run: Callable[[argparse.Namespace], int | None]
    """Runs it and returns the exit status; None is 0."""


def _at_home(word: str) -> str:
    """A word with the user's home in place of `~`, where a shell leaves it: `--output=~/x`."""
    found = AT_HOME.fullmatch(word)
    return word if found is None else f"{found[1]}{os.path.expanduser(found[2])}"
