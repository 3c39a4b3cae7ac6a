"""Command-line flags from specs: name, type, default and help stand there and nowhere else."""

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tombola.base.errors import SpecError, brief, cut
from tombola.base.fields import CALLED, field_help, number
from tombola.base.registry import unknown
from tombola.base.yaml_text import NotYamlError, compose, construct, read_yaml_text

__all__ = ["Parser", "add_flags"]


MESSAGE = 300
"""Characters of what argparse says, which quotes arguments whole."""


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one line with the nearest name.

    A YAML file named by `--config` gives flags too; those on the command line win wherever they
    stand.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, None, description, allow_abbrev=False, formatter_class=_Formatter)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage."""
        told = message if len(message) <= MESSAGE else f"{message[:MESSAGE]}…"
        raise SpecError(f"{told}. See `{self.prog} --help`.")

    def print_help(self, file: Any = None) -> None:
        """Print what there is to know; argparse's own would say nothing if it can't be written."""
        (file or sys.stdout).write(self.format_help())

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments, those of a configuration file first.

        Raises: SpecError, for an unknown flag or a value of the wrong type.
        """
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        finder.add_argument("--config", type=Path)
        try:
            config = finder.parse_known_args(argv)[0].config
        except argparse.ArgumentError as error:
            self.error(str(error))
        known = config and "--config" in self.flags()
        given = [*(self._from_file(config) if known else ()), *argv]
        options, rest = self._parse(given)
        if rest:
            name = rest[0].split("=")[0]
            if name.startswith("-"):
                raise unknown("flag", name, self.flags())
            raise SpecError(f"expected flags, got {cut(name)}. See `{self.prog} --help`.")
        return options

    def _parse(self, given: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options and what is left; a flag whose value may be missing takes none from the
        arguments that have to be there."""
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

    def flags(self) -> list[str]:
        """Every flag that there is."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _from_file(self, path: Path) -> Iterable[str]:
        """A configuration file as arguments."""
        try:
            root = compose(read_yaml_text(path))
            content = construct(root) or {}
        except NotYamlError as error:
            place = f"{path}:{error.line}" if error.line else str(path)
            raise SpecError(f"{place} is no YAML: {error}. Fix the file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                f"expected a YAML file as --config, got {str(path)!r}: "
                f"{getattr(error, 'strerror', None) or error}."
            ) from None
        if not isinstance(root, MappingNode) and content:
            raise SpecError(f"{path}: expected `flag: value` lines, got {brief(content)}.")
        for key, value in root.value if isinstance(root, MappingNode) else ():
            flag = f"--{key.value.replace('_', '-')}" if isinstance(key, ScalarNode) else "a list"
            if flag not in self.flags() or flag == "--config":
                raise SpecError(f"{path}: {unknown('flag', flag, self.flags())}")
            if self._option_string_actions[flag].nargs == 0:
                given = construct(value)
                if not isinstance(given, bool):
                    raise SpecError(f"{path}: {flag} is true or false, got {brief(given)}.")
                yield from [flag] * given
            else:
                yield f"{flag}={_listed(value, f'{path}: {flag}') or 'none'}"


def _listed(node: Node, what: str) -> str:
    """What a flag is given, as it is written; a list with commas between."""
    if isinstance(node, SequenceNode):
        return ",".join(_one(each, what, in_list=True) for each in node.value)
    return _one(node, what)


def _one(node: Node, what: str, *, in_list: bool = False) -> str:
    if not isinstance(node, ScalarNode) or node.tag.endswith(":null"):
        got = "nothing" if isinstance(node, ScalarNode) else brief(construct(node))
        raise SpecError(
            f"{what} is a value or a list of them, got {got}. Leave it out or give one."
        )
    if in_list and "," in node.value:
        raise SpecError(f"{what} has no commas within a value, got {cut(node.value)}.")
    return str(node.value)


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        columns = shutil.get_terminal_size((100, 24)).columns
        super().__init__(prog, max_help_position=28, width=min(columns, 100))


def add_flags(
    parser: argparse._ActionsContainer,
    spec: type,
    *,
    leave_out: Iterable[str] = (),
    default: str | None = None,
    words: Mapping[str, tuple[str, str]] = {},
) -> None:
    """One flag for each field of a spec.

    Args:
        parser: gets the flags.
        spec: a dataclass whose fields have a string under them.
        leave_out: fields without a flag.
        default: what the help says of the default instead of the field's own; flags that are
            not given are left out of the result either way.
        words: field -> a word that may stand for its value, and what that does.
    """
    fields = {field.name: field for field in dataclasses.fields(spec)}
    for name, text in field_help(spec).items():
        if name not in leave_out:
            field, flag = fields[name], f"--{name.replace('_', '-')}"
            kind = _given(field.type)
            said = _shown(field.default) if default is None else default
            if kind is bool:
                what: dict[str, Any] = {"action": "store_true"}
                said = ""
            else:
                what = {"type": _reader(kind), "metavar": _metavar(kind)}
                if name in words:
                    word = words[name][0]
                    what = {"type": _or_word(word, what["type"]), "metavar": f"X|{word}"}
            about = text.rstrip(".") + (f" (default: {said})" if said else "")
            if kind is not bool and name in words:
                about += f"; or {words[name][0]}: {words[name][1]}"
            parser.add_argument(
                flag, default=argparse.SUPPRESS, help=about.replace("%", "%%"), **what
            )


def _given(kind: Any) -> Any:
    """The type of a field where something is given; it may be None where nothing is."""
    several = [each for each in get_args(kind) if each is not type(None)]
    return several[0] if isinstance(kind, UnionType) else kind


def _or_word(word: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads that word as it stands, and anything else as before."""
    return lambda text: text if text == word else read(text)


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)


def _metavar(kind: Any) -> str:
    names = {int: "N", float: "X", Decimal: "X", str: "NAME"}
    several = {tuple[int, ...]: "N,N,...", tuple[Decimal, ...]: "X,X,..."}
    return (names | several).get(kind, "NAME,NAME,...")


def _reader(kind: Any) -> Callable[[str], Any]:
    """How a flag's text becomes a value."""
    if kind == tuple[int, ...]:
        return _ints
    if kind in (tuple[str, ...], tuple[Decimal, ...]):  # specs read decimals, and say what is wrong
        return lambda text: () if text == "none" else tuple(text.split(","))
    if kind is Decimal:
        return str
    return _number(kind) if kind in (int, float) else str


def _ints(text: str) -> tuple[int, ...]:
    try:
        return tuple(number(part, int) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers with commas between, like 0,1,2, got {cut(text)}"
        ) from None


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return number(text, kind)
        except ValueError:
            what = CALLED[kind]
            raise argparse.ArgumentTypeError(f"expected {what}, got {cut(text)}") from None

    return read
