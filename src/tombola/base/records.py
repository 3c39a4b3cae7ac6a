"""Typed records from the plain data of JSON and YAML, with one-line errors about misfits."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from tombola.base.errors import SpecError, TombolaError, brief
from tombola.base.fields import CALLED
from tombola.base.registry import unknown

__all__ = ["MISSING", "RecordReader"]

T = TypeVar("T")

Place = tuple[str | int, ...]
"""The way to a value: names of fields, and positions in lists."""

MISSING = object()
"""The value of a field that is missing."""

WRITTEN = {"None": "null", "True": "true", "False": "false"}
"""What Python calls a value -> what the file calls it."""


@dataclass(frozen=True, kw_only=True)
class RecordReader:
    """Reads the records of one file or row, and words the errors about it."""

    where: str
    """Where the data come from, as an error names it: "ticket.json", or "row 3 of 'runs.csv'"."""
    remedy: str
    """What to do about it, as a sentence."""
    error: type[TombolaError] = SpecError
    handwritten: bool = False
    """Whether people write such files, in YAML, so that an error shows how to write a value."""

    def read(
        self,
        kind: type[T],
        plain: object,
        *,
        what: str = "",
        computed: Mapping[str, object] | None = None,
    ) -> T:
        """A dataclass or a TypedDict, as its annotations say.

        Args:
            kind: its type; `Annotated[..., msgspec.Meta(description=...)]` bounds a field and says
                what an error calls it.
            plain: dicts, lists, text, numbers, truth values and None.
            what: what a record of this kind is called, for example "a task"; if given, fields that
                it doesn't have are refused, and otherwise they are ignored.
            computed: fields that the data don't have, and may not have.

        Raises: the reader's error, naming the first field that is missing, unknown or doesn't fit.
        """
        import msgspec

        if what:
            self._refuse_unknown(kind, plain, what, {*(computed or {})})
        if computed and isinstance(plain, Mapping):
            plain = {**plain, **computed}
        try:
            return msgspec.convert(plain, kind)
        except TombolaError as error:  # from a __post_init__
            raise self.error(f"{self.where}: {error}") from None
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, ValueError | TypeError):  # from a __post_init__, too
                raise self.error(f"{self.where}: {error.__cause__}") from None
            raise self.misfit(*_first_misfit(kind, plain, ())) from None

    def misfit(self, place: Place | str, expected: str, came: object) -> TombolaError:
        """The error about a value that is not what its place holds.

        Args:
            place: the way to it; empty for the whole.
            expected: what the place holds.
            came: the value there.
        """
        name = place if isinstance(place, str) else ".".join(map(str, place))
        named = f" as {brief(name)}" if name else ""
        got = "nothing" if came is MISSING else WRITTEN.get(repr(came)[:8], brief(came))
        hint = _how_to_write(expected, came) if self.handwritten else ""
        return self.error(
            f"expected {expected}{named} in {self.where}, got {got}. {hint or self.remedy}"
        )

    def _refuse_unknown(
        self, kind: Any, plain: object, what: str, computed: Collection[str] = ()
    ) -> None:
        fields = _fields(_bare(kind))
        known = {name: field for name, field in fields.items() if name not in computed}
        if not known or not isinstance(plain, Mapping):
            return
        for name, value in plain.items():
            if name not in known:
                raise self.error(f"{self.where}: {unknown(f'field of {what}', str(name), known)}")
            self._refuse_unknown(known[name][0], value, str(name))


def _how_to_write(expected: str, came: object) -> str:
    """What to write in YAML instead of a value; empty, if that is not clear."""
    if came is MISSING:
        return "Add it."
    if expected == "a list" and isinstance(came, str | int | float):
        return f"Write [{came}]."
    if expected == "text" and isinstance(came, int | float):
        return "Put it in quotes."
    return ""


def _first_misfit(kind: Any, value: object, place: Place) -> tuple[Place, str, object]:
    """The place of the first thing that doesn't fit, what is expected there, and what came."""
    for name, part, inner in _parts(_bare(kind), value):
        if inner is MISSING:
            return (*place, name), _called(part), MISSING
        if not _fits(part, inner):
            return _first_misfit(part, inner, (*place, name))
    return place, _called(kind), value


def _fits(kind: Any, value: object) -> bool:
    import msgspec

    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, TombolaError):
        return False
    return True


def _parts(kind: Any, value: object) -> Iterator[tuple[str | int, Any, object]]:
    """Name or position, type and value of each part of a value."""
    arguments = get_args(kind)
    if isinstance(value, Mapping):
        for name, (part, needed) in _fields(kind).items():
            if needed or name in value:
                yield name, part, value.get(name, MISSING)
        if get_origin(kind) in (dict, Mapping):
            for name, inner in value.items():
                yield str(name), arguments[0], name
                yield str(name), arguments[1], inner
    elif isinstance(value, list | tuple) and get_origin(kind) in (list, tuple):
        for position, inner in enumerate(value):
            yield position, arguments[0], inner


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Field of a dataclass or a TypedDict -> its type, and whether it is needed."""
    if not dataclasses.is_dataclass(kind) and not is_typeddict(kind):
        return {}
    types = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        needed = kind.__required_keys__
        return {name: (_without_not_required(each), name in needed) for name, each in types.items()}
    return {
        field.name: (types[field.name], field.default is field.default_factory)  # both are MISSING
        for field in dataclasses.fields(kind)
        if field.init
    }


def _without_not_required(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is NotRequired else kind


def _bare(kind: Any) -> Any:
    """A type without its annotations, and without the None that it may also be."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    some = [part for part in _alternatives(kind) if part is not NoneType]
    return _bare(some[0]) if len(some) < len(_alternatives(kind)) and len(some) == 1 else kind


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _called(kind: Any) -> str:
    """What a type is called in an error."""
    if get_origin(kind) is Annotated:
        said = (getattr(note, "description", None) for note in get_args(kind)[1:])
        return next(filter(None, said), None) or _called(get_args(kind)[0])
    if len(parts := _alternatives(kind)) > 1:
        return " or ".join(map(_called, parts))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in (list, tuple):
        return "a list"
    return {**CALLED, Decimal: "a fraction", NoneType: "null"}.get(kind, "an object")
