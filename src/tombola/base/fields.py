"""Fields of specs: the types they accept, what messages call these, and the help texts."""

import ast
import dataclasses
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from decimal import Decimal
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

from tombola.base.errors import SpecError, brief

__all__ = [
    "A_TICKET",
    "CALLED",
    "SOME_DIGIT",
    "StrPath",
    "check_types",
    "field_help",
    "number",
    "path_text",
    "refuse_above",
]

StrPath: TypeAlias = str | os.PathLike[str]
"""A path, or a name, as public functions take it; `path_text` makes text of it."""

A_TICKET = "a ticket, its folder, or what find() returned"
"""What a message calls whatever stands for a ticket."""

CALLED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}
"""Type of a field -> what a message calls its values."""

SEVERAL = {int: "whole numbers", str: "texts", Decimal: "fractions"}
"""Type -> what a message calls the values of a list."""

ACCEPTED: Mapping[Any, tuple[type, ...]] = {
    float: (int, float),
    Decimal: (int, float, str, Decimal),
}
"""Type of a field -> the types it accepts, where that is more than its own."""

PLAIN = re.compile(r"[ \t\r\n]*[!-^`-~]+[ \t\r\n]*")
"""ASCII without underscores, which Python's own readers ignore."""

SOME_DIGIT = re.compile(r"[^eE]*[1-9]")
"""A number with a digit other than zero before its exponent."""

N = TypeVar("N", int, float, Decimal)

MOST = 2**63 - 1
"""The largest whole number of a field."""


def number(text: str, kind: Callable[[str], N]) -> N:
    """A number written in ASCII, without underscores; surrounding blanks are ignored.

    Args:
        text: the number as it was written.
        kind: int, float or Decimal.

    Raises: ValueError or ArithmeticError, if it isn't one, or would underflow to zero.
    """
    if not PLAIN.fullmatch(text):
        raise ValueError("not a number in plain ASCII")
    value = kind(text)
    if value:
        return value
    if SOME_DIGIT.match(text):
        raise ValueError("too small for a number")
    return kind("0")  # also for -0


def refuse_above(value: float, most: int, name: str) -> None:
    """Refuse a number that is larger than a knob takes.

    Raises: SpecError, naming the knob.
    """
    if value > most:
        raise SpecError(f"{name} must be at most {most:,}, got {brief(value)}.")


def check_types(spec: Any) -> None:
    """Refuse fields of a dataclass whose values are not of the declared types.

    Lists and arrays become tuples, paths text, and numbers of NumPy Python's own.

    Args:
        spec: a dataclass with fields declared int, float, bool, str or Decimal, or as a tuple of
            one of these, or as one of them or None; others are not checked. A whole number is a
            float, and any number or text may become a Decimal; true and false are not numbers.

    Raises: SpecError, naming the field.
    """
    for field in dataclasses.fields(spec):
        value, kind = _own(getattr(spec, field.name)), _needed(field.type)
        if value is not getattr(spec, field.name):
            object.__setattr__(spec, field.name, value)
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
                raise SpecError(f"{field.name} must be {called}, got {brief(value)}.")
            _bound(field.name, value, kind)


def path_text(came: object, wanted: str) -> str:
    """A path or a name as text; `~` is the user's home.

    Args:
        came: what a function was given.
        wanted: what it takes, as a noun phrase.

    Raises: SpecError, for anything else, or text that no path may hold.
    """
    if not isinstance(came, str | os.PathLike):
        kind = "None" if came is None else f"an object of type {type(came).__name__}"
        raise SpecError(f"expected {wanted}, got {kind}. Pass one.")
    if "\0" in os.fspath(came):
        raise SpecError(f"expected {wanted}, got {brief(came)} with a null character. Remove it.")
    return os.path.expanduser(os.fspath(came))


def field_help(spec: type) -> dict[str, str]:
    """Field of a dataclass -> the docstring under it, its own before an inherited one."""
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


def _own(value: Any) -> Any:
    """A NumPy number as a Python one, a 32-bit 0.1 as 0.1; an array as a list."""
    if isinstance(value, Real) and hasattr(value, "dtype"):
        return int(value) if isinstance(value, Integral) else float(str(value))
    return value.tolist() if getattr(value, "ndim", 0) == 1 else value


def _needed(kind: Any) -> Any:
    """The type of a field, without the None that it may also be."""
    if not isinstance(kind, UnionType):
        return kind
    (one,) = (each for each in get_args(kind) if each is not NoneType)
    return one


def _listed(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple, range)):
        hint = f" Write {brief(_parted(value))}." if _fits(value, kind) else ""
        raise SpecError(f"{name} must be a list of {SEVERAL[kind]}, got {brief(value)}.{hint}")
    value = [*map(_own, value)]
    for one in value:
        if not _fits(one, kind):
            raise SpecError(f"{name} must be {SEVERAL[kind]}, got {brief(one)} among them.")
        _bound(name, one, kind)
    return tuple(value)


def _parted(value: Any) -> list[Any]:
    """The list that was probably meant by one value, or by several with commas between them."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _fits(value: Any, kind: Any) -> bool:
    fits = isinstance(value, ACCEPTED.get(kind, (kind,)))
    return fits and (kind is bool or not isinstance(value, bool))


def _bound(name: str, value: Any, kind: Any) -> None:
    if kind in (int, float) and isinstance(value, int):
        refuse_above(abs(value), MOST, name)
