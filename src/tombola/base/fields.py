"""What a field of a spec may hold, what it is called in a message, and its help text."""

import ast
import dataclasses
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from tombola.base.errors import SpecError, brief

__all__ = ["CALLED", "MOST", "SOME_DIGIT", "check_types", "field_help", "number", "refuse_above"]

CALLED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
"""Type of a field -> what may stand there."""

SEVERAL = {int: "whole numbers", str: "texts", Decimal: "fractions"}
"""Type -> what a list of it holds."""

ACCEPTED: Mapping[Any, tuple[type, ...]] = {
    float: (int, float),
    Decimal: (int, float, str, Decimal),
}
"""Type of a field -> types that stand for it, where others than itself do."""

PLAIN = re.compile(r"[ \t\r\n]*[!-^`-~]+[ \t\r\n]*")
"""ASCII without underscores, which Python's own readers pass over."""

SOME_DIGIT = re.compile(r"[^eE]*[1-9]")
"""A number before whose exponent is more than zeros."""

N = TypeVar("N", int, float, Decimal)

MOST = 2**63 - 1
"""The largest whole number of a field."""


def number(text: str, kind: Callable[[str], N]) -> N:
    """A number as it is written: in ASCII, without underscores; blanks around it don't count.

    Args:
        text: what stands there.
        kind: int, float or Decimal.

    Raises: ValueError or ArithmeticError, if it is none, or is not zero and would become zero.
    """
    if not PLAIN.fullmatch(text):
        raise ValueError("no number in plain ASCII")
    value = kind(text)
    if value:
        return value
    if SOME_DIGIT.match(text):
        raise ValueError("too small for a number")
    return kind("0")  # which -0 means, too


def refuse_above(value: float, most: int, name: str) -> None:
    """Refuse a number that is larger than a knob takes.

    Raises: SpecError, naming the knob.
    """
    if value > most:
        raise SpecError(f"{name} is at most {most:,}, got {brief(value)}.")


def check_types(spec: Any) -> None:
    """Refuse fields of a dataclass that are not what they are declared as.

    Lists become tuples, and paths text.

    Args:
        spec: with fields declared int, float, bool, str or Decimal, or as a tuple of one of these,
            or as one of them or None; others are not looked at. A whole number is a float, and any
            number or text may be read as a Decimal; true and false are no numbers.

    Raises: SpecError, naming the field.
    """
    for field in dataclasses.fields(spec):
        value, kind = getattr(spec, field.name), _needed(field.type)
        if value is None and kind is not field.type:
            continue
        if kind is str and isinstance(value, os.PathLike):
            object.__setattr__(spec, field.name, os.fspath(value))
        elif get_origin(kind) is tuple:
            each = get_args(kind)[0]
            if each in SEVERAL:
                object.__setattr__(spec, field.name, _listed(field.name, value, each))
        elif kind in (*CALLED, Decimal):
            if not _fits(value, kind):
                called = CALLED.get(kind, "a fraction")
                raise SpecError(f"{field.name} is {called}, got {brief(value)}.")
            _bound(field.name, value, kind)


def field_help(spec: type) -> dict[str, str]:
    """Field -> the string under it in the source of a dataclass, its own before inherited ones."""
    about: dict[str, str] = {}
    for kind in filter(dataclasses.is_dataclass, spec.__mro__):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for pair in zip(body.body, body.body[1:], strict=False):
            match pair:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    about.setdefault(name, " ".join(text.split()))
    return about


def _needed(kind: Any) -> Any:
    """The type of a field that may be None besides."""
    if not isinstance(kind, UnionType):
        return kind
    (one,) = (each for each in get_args(kind) if each is not NoneType)
    return one


def _listed(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple, range)):
        hint = f" Write {brief(_parted(value))}." if _fits(value, kind) else ""
        raise SpecError(f"{name} are a list of {SEVERAL[kind]}, got {brief(value)}.{hint}")
    for one in value:
        if not _fits(one, kind):
            raise SpecError(f"{name} are {SEVERAL[kind]}, got {brief(one)} among them.")
        _bound(name, one, kind)
    return tuple(value)


def _parted(value: Any) -> list[Any]:
    """The list that somebody meant who wrote a value, or several with commas between them."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _fits(value: Any, kind: Any) -> bool:
    fits = isinstance(value, ACCEPTED.get(kind, (kind,)))
    return fits and (kind is bool or not isinstance(value, bool))


def _bound(name: str, value: Any, kind: Any) -> None:
    if kind in (int, float) and isinstance(value, int):
        refuse_above(abs(value), MOST, name)
