"""Command-line flags made from specs, which hold their names, types, defaults and help texts."""

import argparse
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from types import UnionType
from typing import Any, get_args

from tombola.base.errors import cut
from tombola.base.fields import CALLED, field_help, number

__all__ = ["add_flags"]


def add_flags(
    parser: argparse._ActionsContainer,
    spec: type,
    *,
    only: Collection[str] = (),
    leave_out: Iterable[str] = (),
    default: str | None = None,
    words: Mapping[str, tuple[str, str]] = {},
) -> None:
    """Add one flag for each field of a spec.

    Args:
        parser: where the flags are added.
        spec: a dataclass with a docstring under each field.
        only: fields that get one; by default all.
        leave_out: fields that get no flag.
        default: shown in the help instead of the field's own default; a flag that is not given is
            left out of the result either way.
        words: field -> a word that may be given instead of a number, and what it means.
    """
    fields = {field.name: field for field in dataclasses.fields(spec)}
    for name, text in field_help(spec).items():
        if name not in leave_out and (not only or name in only):
            field, flag = fields[name], f"--{name.replace('_', '-')}"
            kind = _given(field.type)
            said = _shown(field.default) if default is None else default
            if kind is bool:
                what: dict[str, Any] = {"action": "store_true"}
                said = ""
            else:
                what = {"type": _reader(kind), "metavar": PLACES.get(name) or _metavar(kind)}
                if name in words:
                    word = words[name][0]
                    what = {
                        "type": _number(kind, word),
                        "metavar": f"{_metavar(kind)}|{word}",
                    }
            about = text.rstrip(".") + (f" (default: {said})" if said else "")
            if kind is not bool and name in words:
                about += f"; or {words[name][0]}: {words[name][1]}"
            parser.add_argument(
                flag, default=argparse.SUPPRESS, help=about.replace("%", "%%"), **what
            )


def _given(kind: Any) -> Any:
    """The type of a field without its None, which stands for a flag that is not given."""
    several = [each for each in get_args(kind) if each is not type(None)]
    return several[0] if isinstance(kind, UnionType) else kind


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default is None else str(default)


PLACES = {"store": "DIR", "track_dir": "DIR", "ray_address": "ADDRESS"}
"""Field -> what stands for its value in the help, if not what its type says."""


def _metavar(kind: Any) -> str:
    names = {int: "N", float: "X", Decimal: "X", str: "NAME"}
    several = {tuple[int, ...]: "N,N,...", tuple[Decimal, ...]: "X,X,..."}
    return (names | several).get(kind, "NAME,NAME,...")


def _reader(kind: Any) -> Callable[[str], Any]:
    """The function that turns a flag's text into a value."""
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


def _number(kind: Callable[[str], Any], word: str = "") -> Callable[[str], Any]:
    """A reader of numbers that accepts this word as well, if there is one."""

    def read(text: str) -> Any:
        if word and text == word:
            return word
        try:
            return number(text, kind)
        except ValueError:
            what = CALLED[kind] + (f" or `{word}`" if word else "")
            raise argparse.ArgumentTypeError(f"expected {what}, got {cut(text)}") from None

    return read
